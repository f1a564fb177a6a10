"""The documents: one model for each kind. Validation and the JSON Schema for editors derive from them."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

from offtake import plain_names
from offtake.alerts import limits
from offtake.alerts.channels.registry import KINDS
from offtake.client.alerts import TOPICS
from offtake.contract.caller import ALL, PERMISSIONS
from offtake.lake.catalogs.declarations import TYPES

Kind = Literal["catalog", "dataset", "connection", "role", "client", "flow", "alert-channel", "alert-rule"]
_FORMATS: Final = {"ndjson": "json"}
Name = Annotated[StrictStr, Field(min_length=1)]


def _plain(name: str) -> str:
    if not plain_names.is_plain(name):
        raise ValueError(plain_names.RULE)
    return name


PlainName = Annotated[StrictStr, AfterValidator(_plain)]
Scalar = StrictStr | StrictBool | StrictInt | float
_NAME: Final = "The name, by which other documents refer to it."
_LABELS: Final = "All access labels; only clients with all of them can see it. Not given: they stay as they are."


class Document(BaseModel):
    """The fields that all documents share. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)

    name: Name = Field(description=_NAME)
    id: StrictStr | None = Field(
        default=None,
        min_length=1,
        description="The id on the server, if it is known: then the name may change. Without it, the name decides.",
    )

    def references(self) -> list[tuple[Kind, str, tuple[str | int, ...]]]:
        """The documents that this one refers to: kind, name or id, and the path of the field."""
        return []


class CatalogDocument(Document):
    """A catalog of others, from which datasets are registered."""

    kind: Literal["catalog"]
    name: PlainName = Field(description=_NAME)
    type: Literal["rest", "glue", "hive", "sql", "files"] = Field(
        description="; ".join(f"{one.name}: {one.description}" for one in TYPES.values())
    )
    properties: dict[str, StrictStr] = Field(
        default_factory=dict, description="The properties of the type, by PyIceberg's names; secrets by reference."
    )


class ColumnDocument(BaseModel):
    """A column of a dataset."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    name: StrictStr = Field(min_length=1)
    type: StrictStr = Field(description="In Iceberg's text form, such as decimal(18,2).")
    required: StrictBool = False


class DatasetDocument(Document):
    """A dataset: of the deployment's own lake, or registered from a catalog. Its rows are not declared."""

    kind: Literal["dataset"]
    description: StrictStr | None = None
    columns: list[ColumnDocument | Annotated[StrictStr, Field(pattern=":")]] | None = Field(
        default=None,
        description="The columns, as objects or as name:type or name:type:required. Not given: the first batch "
        "defines them.",
    )
    evolves: StrictBool | None = Field(default=None, description="Whether batches may add columns.")
    labels: list[StrictStr] | None = Field(default=None, description=_LABELS)
    catalog: StrictStr | None = Field(default=None, description="The catalog of a registered table.")
    table: StrictStr | None = Field(default=None, description="The registered table, such as sales.orders.")
    metadata: StrictStr | None = Field(
        default=None, description="For catalogs of type files: the location of the table's metadata."
    )

    def references(self) -> list[tuple[Kind, str, tuple[str | int, ...]]]:
        """The catalog."""
        return [] if self.catalog is None else [("catalog", self.catalog, ("catalog",))]


class EncryptionDocument(BaseModel):
    """Encryption of the delivered files."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)

    public_key: StrictStr = Field(
        min_length=1, description="The recipient's armored PGP public key in Base64, or file:PATH of the key."
    )


class ConnectionDocument(Document):
    """A base connection: an account at a destination."""

    kind: Literal["connection"]
    description: StrictStr | None = None
    destination: StrictStr = Field(description="The destination.")
    auth: StrictStr | None = Field(
        default=None, description="The authentication: a specName of the destination, if it has several."
    )
    params: dict[str, Scalar] = Field(
        default_factory=dict,
        description="The params of the authentication, by the contract's names; secrets by reference.",
    )
    encryption: EncryptionDocument | None = Field(
        default=None, description="Encryption of files; null removes it. Not given: it stays as it is."
    )


class DatasetChoice(BaseModel):
    """A dataset of a flow."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    name: StrictStr = Field(min_length=1, description="The dataset's name or id.")
    columns: list[StrictStr] | None = Field(
        default=None, min_length=1, description="The columns to deliver, such as id or address.city. Default: all."
    )
    ref: StrictStr | None = Field(default=None, min_length=1, description="A branch or tag. Default: main.")


class FlowDocument(Document):
    """A flow: a scheduled export of datasets to a connection, with all of its settings."""

    kind: Literal["flow"]
    description: StrictStr | None = None
    dataset: StrictStr | None = Field(default=None, min_length=1, description="The dataset's name or id.")
    columns: list[StrictStr] | None = Field(
        default=None, min_length=1, description="The columns of `dataset` to deliver. Default: all."
    )
    ref: StrictStr | None = Field(default=None, min_length=1, description="A branch or tag of `dataset`.")
    datasets: list[DatasetChoice | StrictStr] | None = Field(
        default=None, min_length=1, description="Several datasets, instead of `dataset`."
    )
    to: StrictStr = Field(min_length=1, description="The connection's name or id.")
    path: StrictStr | None = Field(default=None, description="The folder at the destination.")
    bucket: StrictStr | None = Field(default=None, description="The bucket, for S3 and Google Cloud Storage.")
    container: StrictStr | None = Field(default=None, description="The container, for Azure Blob Storage.")
    format: Annotated[
        Literal["json", "ndjson", "parquet", "JSON", "PARQUET"], AfterValidator(lambda text: _FORMATS.get(text, text))
    ] = Field(description="The format of the files; json and ndjson are the same.")
    compression: Literal["gzip", "none", "GZIP", "NONE"] = Field(
        default="gzip", description="JSON files are always compressed. Default: gzip."
    )
    manifest: StrictBool = Field(default=False, description="Write a manifest file as the last file of each run.")
    params: dict[str, Scalar] = Field(
        default_factory=dict, description="Other params of the target connection, by the contract's names."
    )
    every: StrictStr | None = Field(default=None, description="The period: a number of hours such as 3h, or 1d.")
    daily: StrictStr | None = Field(default=None, description="The time of day (UTC) of a daily export, such as 06:00.")
    once: StrictBool | None = Field(default=None, description="A single full export.")
    full: StrictBool = Field(default=False, description="Daily full exports, where the deployment allows them.")
    start: StrictStr | StrictInt | None = Field(
        default=None, description="When it starts: 2027-01-31 or 2027-01-31T06:00:00Z. Default: at once."
    )
    end: StrictStr | StrictInt | None = Field(
        default=None, description="When it ends, or never. Not given: the server's default, or as it is."
    )
    folder: StrictStr | None = Field(default=None, description="The template of folder names.")
    fresh_within: StrictStr | None = Field(
        default=None,
        description="The target of its freshness, such as 4h: it is late when its data is older. none: without. Not "
        "given: as it is.",
    )
    state: Literal["enabled", "disabled"] | None = Field(default=None, description="Not given: as it is.")
    labels: list[StrictStr] | None = Field(default=None, description=_LABELS)

    @property
    def choices(self) -> list[DatasetChoice]:
        """The datasets, in one form."""
        if self.dataset is not None:
            return [DatasetChoice(name=self.dataset, columns=self.columns, ref=self.ref)]
        return [DatasetChoice(name=one) if isinstance(one, str) else one for one in self.datasets or ()]

    def references(self) -> list[tuple[Kind, str, tuple[str | int, ...]]]:
        """The connection and the datasets."""
        found: list[tuple[Kind, str, tuple[str | int, ...]]] = [("connection", self.to, ("to",))]
        for index, one in enumerate(self.choices):
            found.append(("dataset", one.name, ("dataset",) if self.dataset is not None else ("datasets", index)))
        return found


class RoleDocument(Document):
    """A role: permissions of clients in sandboxes."""

    kind: Literal["role"]
    description: StrictStr = ""
    permissions: list[StrictStr] = Field(
        description=f"From: {', '.join(PERMISSIONS)}; or * for all.",
        json_schema_extra={"items": {"enum": [*PERMISSIONS, ALL]}},
    )
    sandboxes: list[StrictStr] = Field(default_factory=lambda: [ALL], description="Sandboxes by name. Default: all.")
    labels: list[StrictStr] = Field(default_factory=list, description="The access labels that it grants.")


class ClientDocument(Document):
    """An API client with its roles."""

    kind: Literal["client"]
    account: Literal["user", "service"] = Field(default="user", description="A technical or a service account.")
    roles: list[StrictStr] = Field(default_factory=list, description="Its roles, by name or id.")
    external: StrictBool = Field(default=False, description="It has no secret: the external issuer signs it in.")
    secret_to: StrictStr | None = Field(
        default=None, description="file:PATH, where the secret of a new client is written to, with mode 0600."
    )

    def references(self) -> list[tuple[Kind, str, tuple[str | int, ...]]]:
        """The roles."""
        return [("role", one, ("roles", index)) for index, one in enumerate(self.roles)]


class AlertChannelDocument(Document):
    """An alert channel: a receiver of alerts."""

    kind: Literal["alert-channel"]
    name: PlainName = Field(description=_NAME)
    type: Literal["webhook", "email", "slack", "teams", "google-chat"] = Field(
        description="; ".join(f"{one.name}: {one.description}" for one in KINDS.values())
    )
    settings: dict[str, StrictStr | list[StrictStr]] = Field(
        default_factory=dict, description="The settings of the type; secrets by reference."
    )


class AlertRuleDocument(Document):
    """An alert rule: which events are sent to which channels."""

    kind: Literal["alert-rule"]
    name: PlainName = Field(description=_NAME)
    channels: list[StrictStr] = Field(
        min_length=1, max_length=limits.MOST_CHANNELS, description="The alert channels, by name or id."
    )
    flow: StrictStr | None = Field(
        default=None, min_length=1, description="The only flow that it is about, by name or id. Default: all flows."
    )
    topics: list[StrictStr] | None = Field(
        default=None,
        min_length=1,
        description=f"From: {', '.join(TOPICS)}. Default: all about problems and recoveries.",
        json_schema_extra={"items": {"enum": [*TOPICS]}},
    )
    single: StrictBool = Field(default=False, description="Send each event as a message of its own, for machines.")
    group_seconds: StrictInt = Field(
        default=limits.GROUP_SECONDS,
        ge=0,
        le=limits.LONGEST_GROUP_SECONDS,
        description="How long events with the same cause are collected before their first message.",
    )
    repeat_seconds: StrictInt = Field(
        default=limits.REPEAT_SECONDS,
        ge=limits.SHORTEST_REPEAT_SECONDS,
        le=limits.LONGEST_REPEAT_SECONDS,
        description="How long further events with the same cause are collected before the next message.",
    )
    state: Literal["enabled", "disabled"] | None = Field(default=None, description="Not given: as it is.")

    def references(self) -> list[tuple[Kind, str, tuple[str | int, ...]]]:
        """The channels and the flow."""
        found: list[tuple[Kind, str, tuple[str | int, ...]]] = [
            ("alert-channel", one, ("channels", index)) for index, one in enumerate(self.channels)
        ]
        return found + ([("flow", self.flow, ("flow",))] if self.flow is not None else [])


AnyDocument = (
    CatalogDocument
    | DatasetDocument
    | ConnectionDocument
    | RoleDocument
    | ClientDocument
    | FlowDocument
    | AlertChannelDocument
    | AlertRuleDocument
)
MODELS: Final[dict[Kind, type[Any]]] = {
    "catalog": CatalogDocument,
    "dataset": DatasetDocument,
    "connection": ConnectionDocument,
    "role": RoleDocument,
    "client": ClientDocument,
    "flow": FlowDocument,
    "alert-channel": AlertChannelDocument,
    "alert-rule": AlertRuleDocument,
}
"""By kind, in the order in which things are created: what others refer to comes first."""
