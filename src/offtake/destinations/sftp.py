"""SFTP servers."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from offtake.destinations import patterns, sftp_keys
from offtake.destinations.contract import (
    ANSWER_SECONDS,
    AuthMethod,
    Capabilities,
    Destination,
    Driver,
    Guide,
    Sink,
    Site,
)
from offtake.destinations.parameters import Params, TargetParams
from offtake.errors import DeliveryError

if TYPE_CHECKING:
    # The SSH library is an extra, and slow to import: only who delivers by SFTP pays for it.
    from offtake.destinations.sftp_session import Session

# Identity

NAME: Final = "SFTP"

# Credentials


class SftpLogin(Params):
    """What both ways to log in share."""

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

    @field_validator("host_key_fingerprint")
    @classmethod
    def _is_fingerprint(cls, given: str | None) -> str | None:
        return None if given is None else sftp_keys.fingerprint(given)

    @property
    def unmet(self) -> bool:
        """True until the server's key is known."""
        return self.host_key_fingerprint is None

    def hosts(self) -> dict[str, str]:
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
    """A private key. The passphrase comes first because the key is checked with it."""

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


# Parameters


class SftpParams(TargetParams):
    """A folder of the server."""

    remote_path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path", description="Enter your folder path", examples=["incoming/loyalty"]
    )

    def folder(self) -> str:
        """The folder, below the one that the server logs in to or, with a leading slash, below its root."""
        return self.remote_path.strip("/")

    def root(self) -> str:
        """What the folder is below: `/`, or `""` for the folder that the server logs in to."""
        return "/" if self.remote_path.startswith("/") else ""


# Opening


def open_sink(credentials: Params | None, params: TargetParams, site: Site) -> Sink:
    """The folder, ready to write. Nothing is asked of the server yet."""
    from offtake.destinations.sftp_sink import SftpSink  # noqa: PLC0415 - see the imports

    assert isinstance(params, SftpParams)  # noqa: S101 - parsed with this destination's own model
    return SftpSink(_session(credentials, site), params.root(), params.folder(), site.network.patience)


def pin(credentials: Params, site: Site) -> Params:
    """The credentials with the fingerprint of the key that the server shows; raises `DeliveryError`."""
    session = _session(credentials, site)
    try:
        session.client()
        return credentials.model_copy(update={"host_key_fingerprint": session.shown})
    finally:
        session.close()


def answers(credentials: Params | None, site: Site) -> bool:
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


def _session(credentials: Params | None, site: Site) -> "Session":
    from offtake.destinations.sftp_session import Login, Session  # noqa: PLC0415 - see the imports

    assert isinstance(credentials, Password | SshKey)  # noqa: S101 - the flow's rules let no other kind through
    key, password = None, None
    if isinstance(credentials, SshKey):
        passphrase = credentials.passphrase
        given = credentials.ssh_key.get_secret_value()
        key = sftp_keys.private_key(given, passphrase.get_secret_value() if passphrase else None)
    else:
        password = credentials.password.get_secret_value()
    return Session(
        Login(
            credentials.domain, credentials.port, credentials.username, credentials.host_key_fingerprint, password, key
        ),
        site.network,
    )


# What people must know

GUIDE: Final = Guide(
    about="Files are written as `.NAME.<random>.tmp` beside their place, synced to disk where the server can, and "
    "renamed over it when they are complete: whoever reads names without a leading dot never sees half a "
    "file. Folders are made. A `remotePath` with a leading slash begins at the server's root, any other in "
    "the folder that the server logs in to. The server's key is remembered at the first successful "
    "connection, and every later one must show the same; to know it from the start, give `hostKeyFingerprint`"
    " (`ssh-keyscan HOST | ssh-keygen -lf -`). When the key was changed on purpose, patch the credentials "
    "without it, or with the new one.",
    rights="An account that may make folders, write, rename and remove files below the folder, and nothing else. With "
    "OpenSSH:\n\n```\nMatch User drop\n    ForceCommand internal-sftp\n    ChrootDirectory /srv/drop\n"
    "    AllowTcpForwarding no\n    X11Forwarding no\n```\n\nA key for it, as `sshKey` takes it:\n\n```sh\n"
    "ssh-keygen -t ed25519 -N '' -f drop.key\nbase64 -w0 drop.key\n```",
    limits=(
        (
            "Without `posix-rename@openssh.com`, a file that is replaced is put aside between two renames, as a "
            "temporary file; who is killed just then leaves it there."
        ),
        (
            "A file is complete when the server confirms its rename. When that answer is lost, the temporary file "
            "tells: it is renamed if it is still there, else the file is complete, also when it was picked up already. "
            "Nothing but Offtake may remove temporary files (`.NAME.….tmp`)."
        ),
        "Servers tell a full disk by the word Failure only; it is tried again like any other failure.",
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
    capabilities=Capabilities(
        half_written_visible=True,
        largest_object=None,
        longest_key=1024,
    ),
    guide=GUIDE,
    encryption=True,
    compression_order=("GZIP", "NONE"),
    open=open_sink,
    driver=Driver("asyncssh", "sftp"),
    pin=pin,
    answers=answers,
)
