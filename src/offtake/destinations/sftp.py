"""SFTP servers."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from offtake.destinations import patterns
from offtake.destinations.base import (
    AuthMethod,
    Destination,
    Driver,
    Limits,
    SandboxLocation,
    SetupGuide,
    Sink,
)
from offtake.destinations.drivers import sftp_keys
from offtake.destinations.drivers.sftp_placing import DEFAULT_PLACING, FOLDER, Placing, TemporaryName
from offtake.destinations.parameters import EXTENSION, Params, TargetParams, as_folder
from offtake.errors import DeliveryError
from offtake.network.http import ANSWER_SECONDS

if TYPE_CHECKING:
    # The SSH library is an extra and slow to import: only SFTP deliveries load it.
    from offtake.destinations.drivers.sftp_files import RemoteFolder
    from offtake.destinations.drivers.sftp_session import SftpConnection

# Identity

NAME: Final = "SFTP"

# Credentials


class SftpLogin(Params):
    """The params that both authentication methods share."""

    free: ClassVar[frozenset[str]] = frozenset({"temporary_name", "exclusive_create", "read_back"})
    pinned: ClassVar[frozenset[str]] = frozenset({"host_key_fingerprint"})
    advanced: ClassVar[frozenset[str]] = frozenset(
        {"host_key_fingerprint", "allow_old_algorithms", "temporary_name", "exclusive_create", "read_back"}
    )
    choice_labels: ClassVar[Mapping[str, str]] = {
        "DOT": "Leading dot: .NAME.….tmp",
        "SUFFIX": "Suffix: NAME.….tmp",
        "FOLDER": f"In the folder {FOLDER}",
        "NONE": "The final name: the server cannot rename",
    }
    form_help: ClassVar[Mapping[str, str]] = {
        "username": "The user on the server. It may create folders, and write, rename and remove files, in the folder "
        "of each export.",
        "temporary_name": "The name of a file until it is complete. By default, it is found and recorded at the first "
        "connection.",
        "read_back": "Whether the user may read files and their sizes. If not, a delivery is verified only by the "
        "server's acknowledgement. By default, it is found and recorded at the first connection.",
    }

    domain: str = Field(
        min_length=1,
        title="Host",
        description="Host name or IP address of the server, without a port.",
        examples=["sftp.partner.example"],
    )
    username: str = Field(
        min_length=1,
        title="User name",
        description="The user on the server. It may create folders, and write, rename and remove files, in the "
        "target's folder.",
        examples=["drop"],
    )
    port: int = Field(
        default=22,
        ge=1,
        le=65_535,
        title="Port",
        description="Port of the server. Default: 22.",
        examples=[22],
        json_schema_extra=EXTENSION,
    )
    host_key_fingerprint: str | None = Field(
        default=None,
        title="Host key fingerprint",
        description="SHA-256 fingerprint of the server's host key, from the server's operator or by "
        "ssh-keyscan HOST | ssh-keygen -lf -. A server with another key is refused. Default: recorded at the first "
        "connection.",
        examples=["SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"],
        json_schema_extra=EXTENSION,
    )
    allow_old_algorithms: bool = Field(
        default=False,
        title="Allow old algorithms",
        description="Also allow weak algorithms (CBC ciphers, SHA-1 and group 1 key exchange, MD5, DSA), for servers "
        "that support no others. Risk: an attacker in the network can read or change the traffic, including the "
        "password. Default: false.",
        examples=[False],
        json_schema_extra=EXTENSION,
    )
    temporary_name: TemporaryName | None = Field(
        default=None,
        title="Temporary name",
        description="Name of a file until it is complete: DOT (.NAME.….tmp), SUFFIX (NAME.….tmp), FOLDER "
        f"(in the target's folder {FOLDER}), or NONE (the final name, for servers that cannot rename). Default: "
        "found and recorded at the first connection.",
        examples=["DOT"],
        json_schema_extra=EXTENSION,
    )
    exclusive_create: bool | None = Field(
        default=None,
        title="Exclusive creation",
        description="Whether temporary files are created exclusively (SSH_FXF_EXCL), which some servers do not "
        "support. Default: found and recorded at the first connection.",
        examples=[True],
        json_schema_extra=EXTENSION,
    )
    read_back: bool | None = Field(
        default=None,
        title="Files can be read",
        description="Whether the user may read files and their sizes. With false, a delivery is verified only by the "
        "server's acknowledgement. Default: found and recorded at the first connection.",
        examples=[True],
        json_schema_extra=EXTENSION,
    )

    @field_validator("host_key_fingerprint")
    @classmethod
    def _is_fingerprint(cls, value: str | None) -> str | None:
        return None if value is None else sftp_keys.fingerprint(value)

    @model_validator(mode="after")
    def _can_keep_writers_apart(self) -> Self:
        if self.temporary_name == "NONE" and self.exclusive_create is False:
            raise PydanticCustomError(
                "writers",
                "temporaryName NONE cannot be combined with exclusiveCreate false: two writers could write to one file",
            )
        return self

    @property
    def needs_pinning(self) -> bool:
        """True until the server's host key, and how files are put in place there, are known."""
        return None in (self.host_key_fingerprint, self.temporary_name, self.exclusive_create, self.read_back)

    def placing(self) -> Placing:
        """How files are put in place; the default where nothing is known."""
        return replace(DEFAULT_PLACING, **self.known_placing())

    def known_placing(self) -> dict[str, Any]:
        """The submitted or recorded fields of `Placing`."""
        return self.model_dump(include={field.name for field in fields(Placing)}, exclude_none=True)

    def endpoint_hosts(self) -> dict[str, str]:
        """The server."""
        return {"domain": self.domain}

    @property
    def address(self) -> str | None:
        """The server."""
        return f"{self.domain.lower()}:{self.port}"


class Password(SftpLogin):
    """A password."""

    password: SecretStr = Field(
        min_length=1, title="Password", description="The user's password on the server.", examples=["a password"]
    )


class SshKey(SftpLogin):
    """A private key, and a password for servers that require both. `passphrase` is parsed first: the key needs it."""

    passphrase: SecretStr | None = Field(
        default=None,
        title="Passphrase",
        description="Passphrase of the private SSH key, if the key is encrypted.",
        examples=["a passphrase"],
        json_schema_extra=EXTENSION,
    )
    ssh_key: SecretStr = Field(
        min_length=1,
        title="Private SSH key",
        description="The private key file (OpenSSH or PEM), encoded as Base64. The server's operator adds the public "
        "key to the user's authorized keys.",
        examples=["LS0tLS1CRUdJTi…"],
        json_schema_extra={
            "contentEncoding": "base64",
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_sftp_ssh"}},
        },
    )

    @field_validator("ssh_key")
    @classmethod
    def _is_private_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        passphrase = info.data.get("passphrase")
        sftp_keys.private_key(value.get_secret_value(), passphrase.get_secret_value() if passphrase else None)
        return value

    password: SecretStr | None = Field(
        default=None,
        min_length=1,
        title="Password",
        description="The user's password, if the server requires it in addition to the key.",
        examples=["a password"],
        json_schema_extra=EXTENSION,
    )


# Parameters


class SftpParams(TargetParams):
    """A folder of the server."""

    remote_path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path",
        description="Folder on the server: below the login folder or, with a leading slash, below the server's root. "
        "Missing folders are created.",
        examples=["incoming/loyalty"],
    )

    def folder(self) -> str:
        """The folder, relative to the login folder or, with a leading slash, to the server's root."""
        return as_folder(self.remote_path)

    def root(self) -> str:
        """The parent of the folder: `/`, or `""` for the login folder."""
        return "/" if self.remote_path.startswith("/") else ""


# Opening

WRITE_ONLY: Final = (
    "The user may not read files on the server (readBack=false): a delivery is verified only by the server's "
    "acknowledgement, offtake run verify cannot read the files, and temporary files of killed processes may remain."
)
WITHOUT_RENAME: Final = (
    "The server cannot rename (temporaryName=NONE), so files are written under their final names: a consumer can see a "
    "partial file, and when an attempt fails, the file of the next attempt (the number before -c000) has the same rows "
    "again until the first one is removed. Enable the manifest (includeFileManifest) and load only the files in it."
)


def open_sink(credentials: Params | None, params: TargetParams, sandbox_location: SandboxLocation) -> Sink:
    """A sink for the folder. Does not connect yet."""
    from offtake.destinations.drivers.sftp_sink import SftpSink  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, SftpLogin)  # noqa: S101 - the flow's rules let no other kind through
    session = _session(credentials, sandbox_location)
    return SftpSink(session, _folder(session, params, sandbox_location, credentials.placing()))


def pin(credentials: Params, params: TargetParams | None, sandbox_location: SandboxLocation) -> Params:
    """The credentials with the server's host key fingerprint and, with `params`, how files are put in place there.

    Raises `DeliveryError`.
    """
    from offtake.destinations.drivers.sftp_trial import find_placing  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, SftpLogin)  # noqa: S101 - as above
    session = _session(credentials, sandbox_location)
    try:
        session.client()
        known: dict[str, object] = {"host_key_fingerprint": session.shown}
        if params is not None and credentials.needs_pinning:
            folder = _folder(session, params, sandbox_location, DEFAULT_PLACING)
            known |= asdict(find_placing(session, folder, credentials.known_placing()))
        return credentials.model_copy(update=known)
    finally:
        session.close()


def limits(credentials: Params | None) -> Limits:
    """The guarantees that a server without reading or without renaming cannot give."""
    assert isinstance(credentials, SftpLogin)  # noqa: S101 - as above
    placing = credentials.placing()
    lost = {WRITE_ONLY: not placing.read_back, WITHOUT_RENAME: placing.in_place}
    sentences = tuple(sentence for sentence, holds in lost.items() if holds)
    return Limits(reads_back=placing.read_back, one_name=not placing.in_place, missing_guarantees=sentences)


def answers(credentials: Params | None, sandbox_location: SandboxLocation) -> bool:
    """Whether the server answers a login, also if it refuses it."""
    network = replace(sandbox_location.network, read_timeout=min(ANSWER_SECONDS, sandbox_location.network.read_timeout))
    session = _session(credentials, replace(sandbox_location, network=network))
    try:
        session.client()
    except DeliveryError as error:
        if error.unreachable:
            raise
    finally:
        session.close()
    return True


def _folder(
    session: "SftpConnection", params: TargetParams, sandbox_location: SandboxLocation, placing: Placing
) -> "RemoteFolder":
    from offtake.destinations.drivers.sftp_files import RemoteFolder  # noqa: PLC0415 - see the imports

    assert isinstance(params, SftpParams)  # noqa: S101 - parsed with this destination's own model
    server = session.login.server
    return RemoteFolder(server, params.root(), params.folder(), sandbox_location.network.read_timeout, placing)


def _session(credentials: Params | None, sandbox_location: SandboxLocation) -> "SftpConnection":
    from offtake.destinations.drivers.sftp_login import Login  # noqa: PLC0415 - see the imports
    from offtake.destinations.drivers.sftp_session import SftpConnection  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, Password | SshKey)  # noqa: S101 - the flow's rules let no other kind through
    key = None
    if isinstance(credentials, SshKey):
        passphrase = credentials.passphrase
        encoded = credentials.ssh_key.get_secret_value()
        key = sftp_keys.private_key(encoded, passphrase.get_secret_value() if passphrase else None)
    login = Login(
        credentials.domain,
        credentials.port,
        credentials.username,
        credentials.host_key_fingerprint,
        credentials.password.get_secret_value() if credentials.password else None,
        key,
        credentials.allow_old_algorithms,
    )
    return SftpConnection(login, sandbox_location.network)


# Documentation

GUIDE: Final = SetupGuide(
    summary="Folders of an SFTP server.",
    needs="A user who may write to a folder, with a password or an SSH key.",
    about="Files are written as `.NAME.<random>.tmp` in their folder, synced to disk if the server supports it, and "
    "renamed to their final name when they are complete: consumers that ignore names with a leading dot never see a "
    "partial file. Servers with other rules are supported too: at the first delivery, or by `offtake connection test`, "
    "Offtake writes and removes a small file (`offtake-probe-…`, without extension) to find out what the server "
    "allows, "
    "and records the result in the connection (`temporaryName`, `exclusiveCreate`, `readBack`). You can set each of "
    "them yourself; remove them from the connection to have them found again. "
    "Missing folders are created. A `remotePath` with a leading slash starts at the server's root, any other at "
    "the login folder. The server's host key is pinned at the first successful connection, and later connections "
    "require the same key; to pin it from the start, set `hostKeyFingerprint` "
    "(`ssh-keyscan HOST | ssh-keygen -lf -`). After an intended change of the key, patch the credentials with the "
    "new fingerprint, or with `null` to pin the next key; send the password or SSH key with it.",
    rights="An account that may create folders, and write, rename and remove files below the folder only. With "
    "OpenSSH:\n\n```\nMatch User drop\n    ForceCommand internal-sftp\n    ChrootDirectory /srv/drop\n"
    "    AllowTcpForwarding no\n    X11Forwarding no\n```\n\nA key pair; the API takes the private key in "
    "Base64:\n\n```sh\n"
    "ssh-keygen -t ed25519 -N '' -f drop.key\nbase64 -w0 drop.key\n```",
    limits=(
        (
            "Tested with OpenSSH 9.2 (`sshd`): key, password, both together, each old algorithm below, each request "
            "denied, no `posix-rename@openssh.com`, a full disk, killed sessions. Tested with asyncssh's server, "
            "because "
            "`sshd` cannot be configured so: keyboard-interactive in several languages and with a second question, "
            "names "
            "with a leading dot refused, the flag EXCL unsupported, write-only folders, renaming denied or "
            "unsupported, "
            "files collected at the rename, lost responses."
        ),
        (
            "On a server that does not allow renaming (`temporaryName` NONE), files are written under their final "
            "names, and partial files are visible. Each attempt has its own name: the number before `-c000` grows. "
            "The file of a failed attempt is removed immediately, or when the run is over; until then `offtake run "
            "show` lists it. If the server's response to the last step is lost, or Offtake is killed before it has "
            "recorded the response, the file is written again although the first one is complete, and a consumer that "
            "loads all files loads these rows twice. A consumer that waits for the run's manifest "
            "(`includeFileManifest`) and loads the files in it gets every row once. Offtake detects such a server only "
            "if it reports renaming as denied or unsupported; if it reports just `Failure`, set `temporaryName` "
            "yourself. NONE cannot be combined with `exclusiveCreate` false."
        ),
        (
            "The password answers a single hidden prompt, in any language. A server that asks for more, such as a "
            "one-time code, is refused; the error shows its prompt."
        ),
        (
            "Servers without a common algorithm are refused immediately; the error shows both lists. "
            "`allowOldAlgorithms` allows AES and 3DES in CBC mode, key exchange with SHA-1 or group 1, HMAC-MD5 and "
            "DSA "
            "host keys: an attacker in the network can then read and change files, and learn the password."
        ),
        (
            "In a write-only folder (`readBack` false), a delivery is verified only by the server's acknowledgement: "
            "`offtake run verify` cannot read the files, and temporary files of killed processes may remain."
        ),
        ("With `temporaryName` FOLDER, the empty folder `offtake-unfinished` remains in the target's folder."),
        (
            "Without `posix-rename@openssh.com`, a replaced file is renamed to a temporary name between two renames; a "
            "process that is killed at that moment leaves it there."
        ),
        (
            "A file is complete when the server confirms its rename. If that response is lost, Offtake looks for the "
            "temporary file: if it exists, it is renamed; else the file is complete, even if it was collected already. "
            "Only Offtake may remove temporary files (`….tmp`)."
        ),
        "Many servers report a full disk only as Failure; Offtake retries it like any other failure.",
    ),
)

DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="36965a81-b1c6-401b-99f8-22508f1e6a26",
    flow_spec_id="354d6aad-4754-46e4-a576-1b384561c440",
    flow_spec_name="DatasetsToSFTP",
    auth_methods=(
        AuthMethod(
            "SFTP with Password",
            "SFTP",
            "defines auth params required for connecting to sftp locations with a password",
            Password,
            title="Password",
            about="A user name and a password.",
        ),
        AuthMethod(
            "SFTP with SSH Key",
            "SFTP",
            "defines auth params required for connecting to sftp locations using SSH Key",
            SshKey,
            title="SSH key",
            about="A private key, and a password if the server requires both.",
        ),
    ),
    parameters=SftpParams,
    longest_key=1024,
    guide=GUIDE,
    encryption=True,
    compression_order=("GZIP", "NONE"),
    open=open_sink,
    driver=Driver("asyncssh", "sftp"),
    pin=pin,
    pins_login=True,
    limits=limits,
    answers=answers,
)
