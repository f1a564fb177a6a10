"""Lakes in object stores, for the suites that run on folders too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr

from offtake.lake.catalog import Lake
from offtake.lake.storage import objects
from offtake.lake.storage.access import FileAccess
from offtake.network.egress import Network
from tests.servers import S3Server, amazon


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """moto: unlike `rclone serve s3`, it answers requests for ranges of an object as S3 does."""
    with amazon() as server:
        yield S3Server(server.endpoint, server.access_key, server.secret_key, Path())


def storage_of(server: S3Server) -> dict[str, str]:
    """The properties for `OFFTAKE_STORAGE`."""
    return {
        "s3.endpoint": server.endpoint,
        "s3.access-key-id": server.access_key,
        "s3.secret-access-key": server.secret_key,
    }


def place_in(server: S3Server) -> str:
    """The location of an empty warehouse, in a bucket of its own."""
    bucket = f"lake-{uuid4().hex[:12]}"
    server.make_bucket(bucket)
    return f"s3://{bucket}/own"


def access_in(server: S3Server, location: str) -> FileAccess:
    """How the warehouse at the location is opened."""
    return FileAccess("s3", storage_of(server), Network().for_operator(), root=location)


def open_lake(server: S3Server, catalog_url: str, location: str) -> Lake:
    """The lake at the location."""
    return Lake(catalog_url, location, access=access_in(server, location))


def setting_of(server: S3Server) -> SecretStr:
    """The value of `OFFTAKE_STORAGE`."""
    return SecretStr(" ".join(f"{name}={value}" for name, value in storage_of(server).items()))


def objects_in(access: FileAccess, folder: str) -> list[str]:
    """The names of the objects below the folder."""
    return sorted(one.name for one in objects.files_in(access, folder))
