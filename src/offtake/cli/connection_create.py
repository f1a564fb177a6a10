"""The commands `offtake connection create …`, one for each destination; their options come from its declaration."""

import base64
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.credentials_given import Given, choose_method, new_params
from offtake.cli.derived_options import options_of, with_options
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.refusals import naming_options
from offtake.cli.secrets_given import prompt_for
from offtake.client import names
from offtake.client.destinations import Destination, Field, by_word, distinct
from offtake.client.names import CONNECTION
from offtake.client.problems import ServerError
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import OfftakeError, WrongUsageError

_ROOTS: Final = ("path", "remotePath")
_SEVERAL: Final = 2
PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key-file", help="A file with the recipient's armored PGP public key: files are encrypted."),
]


def _command(word: str, line: str) -> Callable[..., None]:
    destination = by_word(word)
    methods = destination.auth_methods
    fields = distinct(field for one in methods for field in one.fields)
    secrets = [one for one in fields if not one.is_typed]
    # Where there is one secret only, its file may be given by a shorter option.
    options = options_of(fields, secret_file="--secret-file" if len(secrets) == 1 else None)
    text = " ".join(f"{one.word}: {one.about}" for one in methods)
    auth = typer.Option(
        "--auth",
        metavar="|".join(one.word for one in methods),
        help=f"{text} Default: the first that fits the options.",
        hidden=len(methods) < _SEVERAL,
    )
    test_at = typer.Option(
        "--test-at", metavar=_place(destination), help="Where the test writes and deletes a small file."
    )

    def create(  # noqa: PLR0913, PLR0917 - one parameter an option
        name: Annotated[str, typer.Argument(help="The connection's name.")],
        auth: Annotated[str | None, auth] = None,
        public_key_file: PublicKey = None,
        description: Annotated[str | None, typer.Option("--description", help="A description.")] = None,
        test_at: Annotated[str | None, test_at] = None,
        no_test: Annotated[bool, typer.Option("--no-test", help="Create the connection without a test.")] = False,
        server: ToServer = None,
        sandbox: InSandbox = None,
        data_dir: DataDir = None,
        json: AsJson = False,
        **given: Any,  # noqa: ANN401 - values of options
    ) -> None:
        place = _test_place(destination, test_at)
        if place is not None and no_test:
            raise WrongUsageError("--test-at and --no-test contradict each other.")
        body = _body(destination, name, description, public_key_file)
        spec_name, params, asked = _auth(destination, auth, given)
        is_tested = not no_test and (place is not None or not _needs_place(destination))
        with connected(server, data_dir, sandbox) as to:
            names.check_unused(to, CONNECTION, name)
            if spec_name is not None:
                typed = {one.key: prompt_for(one) for one in asked}
                body["auth"] = {"specName": spec_name, "params": params | typed}
            made = _create(to, destination, body, place, is_tested=is_tested)
        _report(destination, made, no_test=no_test, json=json)

    return with_options(create, options, before="auth", doc=line)


def _create(server: Server, destination: Destination, body: Json, place: Json | None, *, is_tested: bool) -> Json:
    """Create a connection after a test of the draft; a failed test creates nothing.

    A server that cannot test drafts tests the connection that it has created.
    """
    with naming_options(_words(destination)):
        tested = _test_draft(server, body, place) if is_tested else None
        made = server.post(CONNECTION.path, body)
    remove = partial(server.delete, f"{CONNECTION.path}/{made['id']}")
    names.check_alone(server, CONNECTION, body["name"], made["id"], remove)
    if is_tested and tested is None:
        tested = server.get_extension(f"{CONNECTION.path}/{made['id']}/test")
    return {"id": made["id"], "name": body["name"], "tested": tested}


def _report(destination: Destination, made: Json, *, no_test: bool, json: bool) -> None:
    if json:
        output.as_json(made)
    else:
        output.line(f"connection {made['name']} ({made['id']}) is created")
        for line in _test_lines(
            destination, output.shell_word(made["name"], made["id"]), made["tested"], skipped=no_test
        ):
            output.line(line)
    if made["tested"] is not None and not made["tested"]["result"]:
        raise typer.Exit(1)


def _auth(destination: Destination, word: str | None, given: Given) -> tuple[str | None, Json, Sequence[Field]]:
    """The contract's name of the authentication method, its given params, and the secrets to ask for."""
    if not destination.auth_methods:
        return None, {}, ()
    method = choose_method(destination, word, given)
    return method.name, *new_params(method, given)


def _body(destination: Destination, name: str, description: str | None, public_key_file: Path | None) -> Json:
    if not name.strip():
        raise WrongUsageError("NAME: must not be empty.")
    body: Json = {"name": name, "connectionSpec": {"id": destination.connection_spec_id, "version": "1.0"}}
    if description is not None:
        body["description"] = description
    if public_key_file is not None:
        body["encryption"] = encryption_of(public_key_file)
    return body


def _words(destination: Destination) -> dict[str, str]:
    """The options of the body's fields."""
    fields = distinct(field for one in destination.auth_methods for field in one.fields)
    words = {f"/auth/params/{field.key}": field.option for field in fields}
    return words | {"/params": "--test-at", "/name": "NAME", "/encryption": "--public-key-file"}


def encryption_of(file: Path) -> Json:
    """The `encryption` of a connection, with the public key in the file."""
    try:
        key = file.expanduser().read_bytes()
    except OSError as error:
        raise WrongUsageError(f"--public-key-file: {file} cannot be read: {error.strerror}.") from None
    params = {"encryptionAlgo": "PGPGPG", "publicKey": base64.b64encode(key).decode()}
    return {"specName": "File PGP/GPG Encryption", "params": params}


def _place(destination: Destination) -> str:
    """How the place of a test is written, such as `BUCKETNAME/FOLDER`."""
    return "/".join(
        [one.removesuffix("Name").upper() for one in _location(destination) if one not in _ROOTS] + ["FOLDER"]
    )


def _location(destination: Destination) -> list[str]:
    """The keys of the bucket or container, and of the folder."""
    shared = ("datasetFileType", "compression")
    return [one.key for one in destination.target_fields if one.required and one.key not in shared]


def _needs_place(destination: Destination) -> bool:
    return any(one not in _ROOTS for one in _location(destination))


def _test_place(destination: Destination, text: str | None) -> Json | None:
    if text is None:
        return None
    keys = _location(destination)
    bucket, folder = [one for one in keys if one not in _ROOTS], next(one for one in keys if one in _ROOTS)
    if not bucket:
        return {folder: text}
    name, _, rest = text.strip("/").partition("/")
    if not name:
        raise WrongUsageError(f"--test-at: must be {_place(destination)}.")
    return {bucket[0]: name, folder: rest or "/"}


def _test_draft(server: Server, body: Json, place: Json | None) -> Json | None:
    """Test before the connection exists; None for a server that cannot. Raises `OfftakeError` when the test fails."""
    draft: Json = {"connection": body} | ({} if place is None else {"params": place})
    try:
        tested: Json = server.post(f"{CONNECTION.path}/test", draft)
    except ServerError as error:
        if error.is_not_served:
            return None
        raise
    if not tested["result"]:
        why = " ".join(f"{one['code']} {one['message']}" for one in tested["errors"])
        raise OfftakeError(f"The test failed: {why} Nothing was created; --no-test creates the connection untested.")
    return tested


def _test_lines(destination: Destination, name: str, tested: Json | None, *, skipped: bool) -> list[str]:
    if tested is None:
        later = f"offtake connection test {name}"
        if skipped:
            return [f"not tested; to test it: {later}"]
        return [f"not tested: a test needs a place, --test-at {_place(destination)}. With a flow: {later}"]
    if tested["result"]:
        return [f"tested: Offtake can deliver to {destination.name}", *tested.get("limits", ())]
    failed = [f"the test failed: {one['code']} {one['message']}" for one in tested["errors"]]
    return [*failed, f"correct it: offtake connection edit {name}; or remove it: offtake connection delete {name}"]


_LINE: Final = "Create a connection to {}, after a test; secrets are typed when asked, or read from a file or variable."
sftp = _command("sftp", _LINE.format("an SFTP server"))
s3 = _command("s3", _LINE.format("Amazon S3 or a compatible store"))
azure_blob = _command("azure-blob", _LINE.format("Azure Blob Storage"))
adls = _command("adls", _LINE.format("Azure Data Lake Storage Gen2"))
gcs = _command("gcs", _LINE.format("Google Cloud Storage"))
landing_zone = _command("landing-zone", "Create a connection to the landing zone of the sandbox; it needs no secrets.")
