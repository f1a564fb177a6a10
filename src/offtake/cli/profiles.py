"""The commands `offtake profile …`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from offtake.cli import output
from offtake.cli.options import AsJson
from offtake.client import profile_edits, profiles
from offtake.errors import OfftakeError

Name = Annotated[str, typer.Argument(help="The profile's name.")]
_SECRET: Final = "client_secret"  # noqa: S105 - a key


def add(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Name,
    server: Annotated[str, typer.Option("--server", help="The server's URL.")],
    client_id: Annotated[str, typer.Option("--client-id", help="The client's id, which is also its API key.")],
    organisation: Annotated[str, typer.Option("--organisation", help="The organisation's id, such as …@AdobeOrg.")],
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", help="A file with the client's secret; its path is stored.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", help="A reference to the secret: env:VARIABLE or file:PATH.")
    ] = None,
    sandbox: Annotated[str | None, typer.Option("--sandbox", help="The sandbox of commands without --sandbox.")] = None,
    token_url: Annotated[
        str | None, typer.Option("--token-url", help="Where tokens are requested; default: the server.")
    ] = None,
    scope: Annotated[str | None, typer.Option("--scope", help="The scope of tokens; default: openid.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="PEM file of certificate authorities to trust in addition.")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default profile.")] = False,
    json: AsJson = False,
) -> None:
    """Add a profile or replace it; asks for its secret unless it is given."""
    values = {
        "server": profiles.check_url(server),
        "client_id": client_id,
        _SECRET: _secret(secret, secret_file),
        "organisation": organisation,
        "sandbox": sandbox,
        "token_url": token_url,
        "scope": scope,
        "ca_file": None if ca_file is None else str(ca_file.absolute()),
    }
    profile_edits.store(name, {key: value for key, value in values.items() if value}, default=default)
    _report(name, f"profile {name} is stored in {profiles.config_file()}", json)


def list_(json: AsJson = False) -> None:
    """List profiles."""
    known = profiles.read_profiles(profiles.config_file())
    default = profiles.default_server()
    found = [_masked(one) | {"name": name, "default": name == default} for name, one in known.items()]
    if json:
        output.as_json(found)
        return
    rows = [
        (one["name"], one.get("server"), one.get("client_id"), one.get("sandbox"), "yes" if one["default"] else "")
        for one in found
    ]
    output.table(("NAME", "SERVER", "CLIENT", "SANDBOX", "DEFAULT"), rows, "No profiles yet: offtake profile add NAME")


def show_(name: Name, json: AsJson = False) -> None:
    """Show a profile, without its secret."""
    known = profiles.read_profiles(profiles.config_file())
    if name not in known:
        raise OfftakeError(f"There is no profile {name}. There are: {', '.join(known) or 'none'}.")
    shown = {"name": name} | _masked(known[name])
    if json:
        output.as_json(shown)
        return
    for key, value in shown.items():
        output.line(f"{key}: {value}")


def use(name: Name, json: AsJson = False) -> None:
    """Make a profile the default: commands without --server use it."""
    profile_edits.use(name)
    _report(name, f"profile {name} is the default", json)


def remove(name: Name, json: AsJson = False) -> None:
    """Remove a profile."""
    profile_edits.remove(name)
    _report(name, f"profile {name} is removed", json)


def _secret(reference: str | None, file: Path | None) -> str:
    """The secret or a reference to it; asks for it on a terminal."""
    if reference is not None and file is not None:
        raise OfftakeError("Give --secret or --secret-file, not both.")
    if file is not None:
        profiles.resolve_secret(f"file:{file}")
        return f"file:{file.absolute()}"
    if reference is None:
        return str(typer.prompt("Secret of the client", hide_input=True, err=True))
    if not reference.startswith(("env:", "file:")):
        raise OfftakeError("--secret is a reference: env:VARIABLE or file:PATH. Without it, it is asked for.")
    return reference


def _masked(section: dict[str, str]) -> dict[str, object]:
    """The profile with its secret masked, unless it is a reference."""
    return {
        key: value if key != _SECRET or value.startswith(("env:", "file:")) else "********"
        for key, value in section.items()
    }


def _report(name: str, sentence: str, json: bool) -> None:
    if json:
        output.as_json({"name": name})
        return
    output.line(sentence)
