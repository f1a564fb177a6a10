"""SFTP servers."""

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from offtake.destinations import patterns
from offtake.destinations.base import (
    ANSWER_SECONDS,
    AuthMethod,
    Destination,
    Driver,
    Limits,
    SandboxLocation,
    SetupGuide,
    Sink,
)
from offtake.destinations.drivers import sftp_keys
from offtake.destinations.drivers.sftp_placing import FOLDER, USUAL, Placing, TemporaryName
from offtake.destinations.parameters import Params, TargetParams, as_folder
from offtake.errors import DeliveryError

if TYPE_CHECKING:
    # The SSH library is an extra, and slow to import: only who delivers by SFTP pays for it.
    from offtake.destinations.drivers.sftp_files import RemoteFolder
    from offtake.destinations.drivers.sftp_session import SftpConnection

# Identity

NAME: Final = "SFTP"

# Credentials


class SftpLogin(Params):
    """What both ways to log in share."""

    free: ClassVar[frozenset[str]] = frozenset({"temporary_name", "exclusive_create", "read_back"})
    pinned: ClassVar[frozenset[str]] = frozenset({"host_key_fingerprint"})

    domain: str = Field(min_length=1, description="Domain of server", examples=["sftp.partner.example"])
    username: str = Field(min_length=1, description="Username", examples=["drop"])
    port: int = Field(
        default=22, ge=1, le=65_535, description="Port of the server. An extension of this project.", examples=[22]
    )
    host_key_fingerprint: str | None = Field(
        default=None,
        description="The server's expected key; recorded at the first connection when left out. An extension.",
        examples=["SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"],
    )
    allow_old_algorithms: bool = Field(
        default=False,
        description="Also use broken algorithms (CBC ciphers, SHA-1 and group 1 key exchange, MD5, DSA), where the "
        "server knows no others. The cost: an attacker in the network between may read or change what is sent, the "
        "password too. false when left out. An extension.",
        examples=[False],
    )
    temporary_name: TemporaryName | None = Field(
        default=None,
        description="How a file is called until it is complete: DOT (.NAME.….tmp), SUFFIX (NAME.….tmp), FOLDER "
        f"(in the folder {FOLDER} of the target), or NONE (its final name, where the server renames nothing). Found "
        "and recorded at the first connection when left out. An extension.",
        examples=["DOT"],
    )
    exclusive_create: bool | None = Field(
        default=None,
        description="Whether the server is asked to refuse a temporary name that is taken; some do not know how. Found "
        "and recorded at the first connection when left out. An extension.",
        examples=[True],
    )
    read_back: bool | None = Field(
        default=None,
        description="Whether the server tells the size of files and gives them back. With false, what it acknowledged "
        "is the proof of a delivery. Found and recorded at the first connection when left out. An extension.",
        examples=[True],
    )

    @field_validator("host_key_fingerprint")
    @classmethod
    def _is_fingerprint(cls, given: str | None) -> str | None:
        return None if given is None else sftp_keys.fingerprint(given)

    @model_validator(mode="after")
    def _can_keep_writers_apart(self) -> Self:
        if self.temporary_name == "NONE" and self.exclusive_create is False:
            raise PydanticCustomError(
                "writers",
                "temporaryName NONE does not go with exclusiveCreate false: two writers could then write one file",
            )
        return self

    @property
    def needs_pinning(self) -> bool:
        """True until the server's key is known, and how it takes files."""
        return None in (self.host_key_fingerprint, self.temporary_name, self.exclusive_create, self.read_back)

    def placing(self) -> Placing:
        """How files are put in place; the usual way where nothing is known."""
        return replace(USUAL, **self.given_placing())

    def given_placing(self) -> dict[str, Any]:
        """What of it is known or was given."""
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

    password: SecretStr = Field(min_length=1, description="Password", examples=["a password"])


class SshKey(SftpLogin):
    """A private key, and a password for servers that demand both. The passphrase comes first: the key needs it."""

    passphrase: SecretStr | None = Field(
        default=None,
        description="Passphrase of the private SSH key, where it has one. An extension of this project.",
        examples=["a passphrase"],
    )
    ssh_key: SecretStr = Field(
        min_length=1,
        description="Base64 string of the private SSH key",
        examples=["LS0tLS1CRUdJTi…"],
        json_schema_extra={
            "contentEncoding": "base64",
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_sftp_ssh"}},
        },
    )

    @field_validator("ssh_key")
    @classmethod
    def _is_private_key(cls, given: SecretStr, info: ValidationInfo) -> SecretStr:
        passphrase = info.data.get("passphrase")
        sftp_keys.private_key(given.get_secret_value(), passphrase.get_secret_value() if passphrase else None)
        return given

    password: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="Password of the user, where the server demands it beside the key. An extension of this project.",
        examples=["a password"],
    )


# Parameters


class SftpParams(TargetParams):
    """A folder of the server."""

    remote_path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path", description="Enter your folder path", examples=["incoming/loyalty"]
    )

    def folder(self) -> str:
        """The folder, below the one that the server logs in to or, with a leading slash, below its root."""
        return as_folder(self.remote_path)

    def root(self) -> str:
        """What the folder is below: `/`, or `""` for the folder that the server logs in to."""
        return "/" if self.remote_path.startswith("/") else ""


# Opening

WRITE_ONLY: Final = (
    "The server does not let its user look at files (readBack=false): what it acknowledged is the proof of a delivery, "
    "offtake run verify cannot look at the files, and temporary files of writers that were killed may stay."
)
WITHOUT_RENAME: Final = (
    "The server renames nothing (temporaryName=NONE), so files are written under their final names: a consumer can see "
    "half a file, and when an attempt fails, the file of the next attempt (the number before -c000) has the same rows "
    "again until the first one is removed. Ask for a manifest (includeFileManifest) and load only the files it names."
)


def open_sink(credentials: Params | None, params: TargetParams, site: SandboxLocation) -> Sink:
    """The folder, ready to write. Nothing is asked of the server yet."""
    from offtake.destinations.drivers.sftp_sink import SftpSink  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, SftpLogin)  # noqa: S101 - the flow's rules let no other kind through
    session = _session(credentials, site)
    return SftpSink(session, _folder(session, params, site, credentials.placing()))


def pin(credentials: Params, params: TargetParams | None, site: SandboxLocation) -> Params:
    """The credentials with the fingerprint of the key that the server shows and, with a place, how it takes files.

    Raises `DeliveryError`.
    """
    from offtake.destinations.drivers.sftp_trial import find_placing  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, SftpLogin)  # noqa: S101 - as above
    session = _session(credentials, site)
    try:
        session.client()
        known: dict[str, object] = {"host_key_fingerprint": session.shown}
        if params is not None and credentials.needs_pinning:
            folder = _folder(session, params, site, USUAL)
            known |= asdict(find_placing(session, folder, credentials.given_placing()))
        return credentials.model_copy(update=known)
    finally:
        session.close()


def limits(credentials: Params | None) -> Limits:
    """What a server takes away that shows nothing, or renames nothing."""
    assert isinstance(credentials, SftpLogin)  # noqa: S101 - as above
    placing = credentials.placing()
    lost = {WRITE_ONLY: not placing.read_back, WITHOUT_RENAME: placing.in_place}
    told = tuple(sentence for sentence, holds in lost.items() if holds)
    return Limits(reads_back=placing.read_back, one_name=not placing.in_place, lost=told)


def answers(credentials: Params | None, site: SandboxLocation) -> bool:
    """Whether the server answers a login, be it with a refusal."""
    network = replace(site.network, patience=min(ANSWER_SECONDS, site.network.patience))
    session = _session(credentials, replace(site, network=network))
    try:
        session.client()
    except DeliveryError as error:
        if error.unreachable:
            raise
    finally:
        session.close()
    return True


def _folder(session: "SftpConnection", params: TargetParams, site: SandboxLocation, placing: Placing) -> "RemoteFolder":
    from offtake.destinations.drivers.sftp_files import RemoteFolder  # noqa: PLC0415 - see the imports

    assert isinstance(params, SftpParams)  # noqa: S101 - parsed with this destination's own model
    server = session.login.server
    return RemoteFolder(server, params.root(), params.folder(), site.network.patience, placing)


def _session(credentials: Params | None, site: SandboxLocation) -> "SftpConnection":
    from offtake.destinations.drivers.sftp_login import Login  # noqa: PLC0415 - see the imports
    from offtake.destinations.drivers.sftp_session import SftpConnection  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, Password | SshKey)  # noqa: S101 - the flow's rules let no other kind through
    key = None
    if isinstance(credentials, SshKey):
        passphrase = credentials.passphrase
        given = credentials.ssh_key.get_secret_value()
        key = sftp_keys.private_key(given, passphrase.get_secret_value() if passphrase else None)
    login = Login(
        credentials.domain,
        credentials.port,
        credentials.username,
        credentials.host_key_fingerprint,
        credentials.password.get_secret_value() if credentials.password else None,
        key,
        credentials.allow_old_algorithms,
    )
    return SftpConnection(login, site.network)


# What people must know

GUIDE: Final = SetupGuide(
    about="Files are written as `.NAME.<random>.tmp` in their folder, synced to disk where the server can, and renamed "
    "over their place when they are complete: who reads names without a leading dot never sees half a file. Servers "
    "with other rules are served too: at the first delivery, or by `offtake connection test`, a small file "
    "(`offtake-probe-…`, without extension) is put in place and removed to find out what the server allows, and the "
    "answer is kept with the connection (`temporaryName`, `exclusiveCreate`, `readBack`). Each can be set instead; "
    "remove them from the connection to have them found again. "
    "Folders are made. A `remotePath` with a leading slash begins at the server's root, any other in "
    "the folder that the server logs in to. The server's key is remembered at the first successful "
    "connection, and every later one must show the same; to know it from the start, give `hostKeyFingerprint`"
    " (`ssh-keyscan HOST | ssh-keygen -lf -`). When the key was changed on purpose, patch the credentials "
    "with the new one, or with `null` to have the next one remembered; the password or key has to be sent with it.",
    rights="An account that may make folders, write, rename and remove files below the folder, and nothing else. With "
    "OpenSSH:\n\n```\nMatch User drop\n    ForceCommand internal-sftp\n    ChrootDirectory /srv/drop\n"
    "    AllowTcpForwarding no\n    X11Forwarding no\n```\n\nA key for it, as `sshKey` takes it:\n\n```sh\n"
    "ssh-keygen -t ed25519 -N '' -f drop.key\nbase64 -w0 drop.key\n```",
    limits=(
        (
            "Staged with OpenSSH 9.2 (`sshd`): key, password, both demanded at once, each old algorithm below, "
            "requests denied one by one, no `posix-rename@openssh.com`, a full disk, sessions killed. Staged with "
            "asyncssh's server, as `sshd` cannot be configured so: keyboard-interactive in several languages and "
            "with a second question, names with a leading dot refused, the flag EXCL unknown, folders "
            "that can only be written to, renaming denied or unknown, files picked up at the rename, answers lost."
        ),
        (
            "A server that lets nobody rename files (`temporaryName` NONE) gets them under their final names, and half "
            "a file is visible there. Each attempt has a name of its own: the number before `-c000` grows. What a "
            "failed attempt has left is removed at once, else once the run is over; until then `offtake run show` "
            "names it. When the server's answer to the last step is lost, or Offtake is killed before it has recorded "
            "that answer, the file is written again although the first one is complete, and somebody who loads "
            "everything loads these rows twice. A consumer that waits for the run's manifest (`includeFileManifest`) "
            "and loads the files that it names gets every row once. Only a server that says that renaming is denied or "
            "unknown is taken for one; where it says just `Failure`, set `temporaryName` yourself. It cannot be "
            "combined with `exclusiveCreate` false."
        ),
        (
            "A password answers one prompt that is not echoed, in any language. A server that asks for more, such as a "
            "code, is refused with its question."
        ),
        (
            "Servers without an algorithm in common are refused at once, with both lists. `allowOldAlgorithms` admits "
            "AES and 3DES in CBC mode, key exchange with SHA-1 or in group 1, HMAC-MD5 and DSA host keys: who controls "
            "the network between may then read and change files, and learn the password."
        ),
        (
            "In a folder that can only be written to (`readBack` false), what the server acknowledged is the proof: "
            "`offtake run verify` cannot look at the files, and temporary files of a killed writer may stay."
        ),
        ("With `temporaryName` FOLDER, the empty folder `offtake-unfinished` stays in the target's folder."),
        (
            "Without `posix-rename@openssh.com`, a file that is replaced is put aside between two renames, as a "
            "temporary file; who is killed just then leaves it there."
        ),
        (
            "A file is complete when the server confirms its rename. When that answer is lost, the temporary file "
            "tells: it is renamed if it is still there, else the file is complete, also when it was picked up already. "
            "Nothing but Offtake may remove temporary files (`….tmp`)."
        ),
        "Many servers tell a full disk by the word Failure only; it is tried again like any other failure.",
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
        ),
        AuthMethod(
            "SFTP with SSH Key",
            "SFTP",
            "defines auth params required for connecting to sftp locations using SSH Key",
            SshKey,
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
    limits=limits,
    answers=answers,
)
