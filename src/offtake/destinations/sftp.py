"""SFTP servers."""

from typing import Annotated, Final

from pydantic import Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.contract import AuthMethod, Capabilities, Destination, Guide
from offtake.destinations.parameters import Params, TargetParams

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
        examples=["SHA256:…"],
    )


class Password(SftpLogin):
    """A password."""

    password: SecretStr = Field(min_length=1, description="Password", examples=["a password"])


class SshKey(SftpLogin):
    """A private key."""

    ssh_key: SecretStr = Field(
        min_length=1,
        description="Base64 string of the private SSH key",
        examples=["LS0tLS1CRUdJTi…"],
        json_schema_extra={
            "contentEncoding": "base64",
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_sftp_ssh"}},
        },
    )


# Parameters


class SftpParams(TargetParams):
    """A folder of the server."""

    remote_path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path", description="Enter your folder path", examples=["incoming/loyalty"]
    )

    def folder(self) -> str:
        """The folder, below the one that the server logs in to or, with a leading slash, below its root."""
        return self.remote_path.strip("/")


# What people must know

GUIDE: Final = Guide(
    about="Files are written as `.NAME.tmp` beside their place, synced to disk where the server can, and renamed over "
    "it when they are complete: whoever reads names without a leading dot never sees half a file. Folders are made. "
    "A `remotePath` with a leading slash begins at the server's root, any other in the folder that the server logs in "
    "to. The server's key is remembered at the first successful connection, and every later one must show the same; "
    "to know it from the start, give `hostKeyFingerprint` (`ssh-keyscan HOST | ssh-keygen -lf -`).",
    rights="An account that may make folders, write, rename and remove files below the folder, and nothing else. With "
    "OpenSSH:\n\n```\nMatch User drop\n    ForceCommand internal-sftp\n    ChrootDirectory /srv/drop\n"
    "    AllowTcpForwarding no\n    X11Forwarding no\n```\n\nA key for it, as `sshKey` takes it:\n\n```sh\n"
    "ssh-keygen -t ed25519 -N '' -f drop.key\nbase64 -w0 drop.key\n```",
    limits=(
        "Without `posix-rename@openssh.com`, a file that is replaced is gone between its removal and the rename.",
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
)
