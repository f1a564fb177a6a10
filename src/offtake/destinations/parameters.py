"""The params that all destinations share (contract, sections 5.7 and 8.1)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from offtake.formats.names import NAMES

EXTENSION: Final[JsonDict] = {"x-extension": True}
"""Marks a field that is an extension of this project, in specs, the OpenAPI document and the documentation."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _known_format(value: object) -> object:
    name = _upper(value)
    if name not in NAMES:
        raise ValueError(f"must be one of {', '.join(NAMES)}")
    return name


def address_of(url: str) -> str:
    """The server of a URL, as `host:port`."""
    split = urlsplit(url)
    return f"{split.hostname or ''}:{split.port or (443 if split.scheme == 'https' else 80)}"


def as_folder(path: str) -> str:
    """Normalise a path to a folder's key: no slash at either end, and no repeated slashes.

    Object stores treat `a//b` and `a/b` as different folders, or refuse the first; file systems treat them as equal.
    """
    return "/".join(step for step in path.split("/") if step)


class Params(BaseModel):
    """Params as in the contract: camel-case keys, unknown keys are refused, numbers may be strings.

    Validation errors never contain the submitted value.
    """

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)

    free: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not affect where a secret is sent and for which user. Changing any other field requires the
    secrets again, so a new field binds them by default."""

    pinned: ClassVar[frozenset[str]] = frozenset()
    """Fields that keep their value when credentials are sent without them; null removes them."""

    advanced: ClassVar[frozenset[str]] = frozenset()
    """Fields that few users need; forms show them last, folded."""

    choice_labels: ClassVar[Mapping[str, str]] = {}
    """What pages show instead of the values of choices."""

    form_help: ClassVar[Mapping[str, str]] = {}
    """By field, what forms show instead of its description, where that names values or requests of the API."""

    def endpoint_hosts(self) -> dict[str, str]:
        """The hosts in these params, by their keys; empty where users cannot choose a host."""
        return {}

    @property
    def address(self) -> str | None:
        """The server of all requests, as `host:port`: an outage affects all connections with the same address.

        None where the vendor has many servers behind one name.
        """
        return None

    @property
    def needs_pinning(self) -> bool:
        """Whether a first connection must complete these params, for example with the host key."""
        return False


class TargetParams(Params):
    """The params of all target connections; a destination adds the location of the files."""

    advanced: ClassVar[frozenset[str]] = frozenset({"uuid_as_text", "parquet_encoding", "invalid_text"})
    choice_labels: ClassVar[Mapping[str, str]] = {
        "JSON": "JSON",
        "PARQUET": "Parquet",
        "NONE": "None",
        "GZIP": "gzip",
        "DEFAULT": "Dictionaries",
        "PLAIN": "Plain",
        "FAIL": "Fail the run",
        "REPLACE": "Replace invalid bytes",
    }
    form_help: ClassVar[Mapping[str, str]] = {
        "dataset_file_type": "Parquet is for warehouses and Spark. JSON has one object per line.",
        "compression": "JSON files are always compressed with gzip. In Parquet files, gzip compresses the columns; "
        "without it, files are larger and faster to read.",
        "include_file_manifest": "Write one more file, manifest-….json, as the last file of each run: it lists the "
        "run's files, so that a consumer knows when all of them are there.",
        "uuid_as_text": "Write UUIDs in Parquet files as strings, for readers that do not support the type (Spark "
        "4.0). In JSON files they always are strings.",
        "parquet_encoding": "Plain is for readers that support neither dictionaries nor version 2 pages; files are "
        "larger.",
        "invalid_text": "What happens with text that is not valid UTF-8: the run fails and names the column and the "
        "file, or each invalid byte is replaced by \N{REPLACEMENT CHARACTER}.",
    }

    dataset_file_type: Annotated[str, BeforeValidator(_known_format)] = Field(
        title="File format",
        description="JSON: gzipped files with one JSON object per line. PARQUET: Apache Parquet, for warehouses and "
        "Spark.",
        examples=[NAMES[-1]],
        json_schema_extra={"enum": list(NAMES)},
    )
    compression: Annotated[Literal["NONE", "GZIP"], BeforeValidator(_upper)] = Field(
        title="Compression",
        description="JSON files are always gzipped. For PARQUET, GZIP compresses the columns in the file; NONE is "
        "faster to read and larger.",
        examples=["GZIP"],
    )
    mode: str | None = Field(
        default=None,
        description="Sent by the vendor's tutorial; has no effect.",
        examples=["Server-to-server"],
    )
    include_file_manifest: bool = Field(
        default=False,
        title="Include manifest file",
        description="Write a file manifest-FLOW-RUN.json (with the ids of flow and run) as the last file of each run, "
        "so that a consumer knows when all files are there. "
        "Default: false; GET /runs/RUN/manifest returns the same content without the file.",
        examples=[True],
    )
    uuid_as_text: bool = Field(
        default=False,
        title="UUIDs as text",
        description="Write UUIDs in Parquet as strings of 8-4-4-4-12 digits, for readers that do not support the type "
        "(Spark 4.0); in JSON they always are strings. Default: false.",
        examples=[True],
        json_schema_extra=EXTENSION,
    )
    parquet_encoding: Annotated[Literal["DEFAULT", "PLAIN"], BeforeValidator(_upper)] = Field(
        default="DEFAULT",
        title="Parquet encoding",
        description="PLAIN writes Parquet without dictionaries, in PLAIN encoding and version 1 pages, for readers "
        "that support no others; files are larger. Default: DEFAULT.",
        examples=["PLAIN"],
        json_schema_extra=EXTENSION,
    )
    invalid_text: Annotated[Literal["FAIL", "REPLACE"], BeforeValidator(_upper)] = Field(
        default="FAIL",
        title="Invalid text",
        description="How to treat text that is not valid UTF-8: FAIL fails the run with the column and the file, "
        "REPLACE writes U+FFFD for each invalid byte. Default: FAIL.",
        examples=["REPLACE"],
        json_schema_extra=EXTENSION,
    )

    def folder(self) -> str:
        """The target's folder as a key prefix: no slash at either end, `""` for the root."""
        raise NotImplementedError
