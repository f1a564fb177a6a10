"""The params that all destinations share (contract, sections 5.7 and 8.1)."""

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def address_of(url: str) -> str:
    """The server that a URL names, as `host:port`."""
    split = urlsplit(url)
    return f"{split.hostname or ''}:{split.port or (443 if split.scheme == 'https' else 80)}"


def as_folder(path: str) -> str:
    """A path as the key of a folder: without slashes at its ends, and with one where several follow each other.

    Object stores would take `a//b` for another folder than `a/b`, or not at all; file systems take both for the same.
    """
    return "/".join(step for step in path.split("/") if step)


class Params(BaseModel):
    """Params as the contract reads them: camel-case keys, unknown keys refused, numbers may arrive as strings.

    Validation errors never repeat the value that was sent.
    """

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)

    free: ClassVar[frozenset[str]] = frozenset()
    """Fields that say nothing of where a secret is sent to, and as whom. When another one is changed, the secrets have
    to be sent again: so a field that nobody thought of binds them."""

    pinned: ClassVar[frozenset[str]] = frozenset()
    """Fields that stay as they are when credentials are sent without them; null drops them."""

    def endpoint_hosts(self) -> dict[str, str]:
        """The hosts that these params name, by the key that names each; where a user chooses none, empty."""
        return {}

    @property
    def address(self) -> str | None:
        """The server that everything goes to, as `host:port`: what else goes there is away when one is.

        None where the vendor has many of them behind one name.
        """
        return None

    @property
    def needs_pinning(self) -> bool:
        """Whether a first connection has something to teach that these params do not say yet."""
        return False


class TargetParams(Params):
    """Every target connection's params; a destination adds where the files go."""

    dataset_file_type: Annotated[Literal["JSON", "PARQUET"], BeforeValidator(_upper)] = Field(
        title="File Type", description="Select file format", examples=["PARQUET"]
    )
    compression: Annotated[Literal["NONE", "GZIP"], BeforeValidator(_upper)] = Field(
        title="Compression format",
        description="Select the desired file compression format.",
        examples=["GZIP"],
    )
    mode: str | None = Field(
        default=None,
        description="Sent by the tutorial's requests; has no effect.",
        examples=["Server-to-server"],
    )
    include_file_manifest: bool = Field(
        default=False,
        title="Include manifest file",
        description="Write a file manifest-FLOW-RUN.json, named by the ids of flow and run, as the last file of each "
        "run. false when left out; without the file, GET /runs/RUN/manifest has the same.",
        examples=[True],
    )
    uuid_as_text: bool = Field(
        default=False,
        title="UUIDs as text",
        description="Deliver UUIDs in Parquet as strings of 8-4-4-4-12 digits, for readers that do not know the type "
        "(Spark 4.0); in JSON they always are. false when left out. An extension of this project.",
        examples=[True],
    )
    parquet_encoding: Annotated[Literal["DEFAULT", "PLAIN"], BeforeValidator(_upper)] = Field(
        default="DEFAULT",
        title="Parquet encoding",
        description="PLAIN writes Parquet without dictionaries and in the oldest encoding and pages only, for readers "
        "that know no others; files become larger. DEFAULT when left out. An extension of this project.",
        examples=["PLAIN"],
    )
    invalid_text: Annotated[Literal["FAIL", "REPLACE"], BeforeValidator(_upper)] = Field(
        default="FAIL",
        title="Invalid text",
        description="What happens to text that is not UTF-8: FAIL fails the run and names the column and the file, "
        "REPLACE delivers U+FFFD for each wrong byte. FAIL when left out. An extension of this project.",
        examples=["REPLACE"],
    )

    def folder(self) -> str:
        """The target's own folder as a key prefix: no slash at either end, `""` for the root."""
        raise NotImplementedError
