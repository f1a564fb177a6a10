"""One typed settings object: `OFFTAKE_*` variables, then `offtake.toml`, then defaults that need nothing installed."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

HOUR_INTERVALS: Final = frozenset({1, 3, 6, 8, 9, 12, 24})
"""Every 1, 3, 6, 8 or 12 hours is what the vendor's UI offers, 9 what its API tutorial has; 24 is the same as daily."""
_CUT_OFF: Final = frozenset("#?\t\r\n")


def _sqlite(file: Path) -> str:
    return f"sqlite:///{quote(str(file))}"


def _text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(ip_network(one.strip()) for one in value.split(",") if one.strip())


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


class Settings(BaseSettings):
    """Everything a deployment can choose. Sizes are bytes, durations seconds."""

    model_config = SettingsConfigDict(
        env_prefix="OFFTAKE_", toml_file="offtake.toml", extra="forbid", hide_input_in_errors=True
    )

    data_dir: Path = Field(default=Path("offtake-data"), description="Where the embedded defaults keep everything.")
    readers_group: str | None = Field(
        default=None,
        description="Name or number of a group of this machine whose members may read the warehouse and the landing "
        "zone where these are folders, with what is in them when the server starts; nobody else reads anything. "
        "Folders outside of the data directory stay open to a group that is taken away again. Default: no group.",
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the store; default: SQLite in the data directory."
    )
    catalog_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the Iceberg catalog; default: the store's database when that is a server, "
        "else SQLite in the data directory.",
    )
    warehouse: str | None = Field(
        default=None,
        description="Where Iceberg data files live: a path or a `file:` URI, taken literally, so that a relative path "
        "means another folder wherever a command is started; default: a folder of the data directory.",
    )
    landing_zone: Annotated[str | None, BeforeValidator(_text)] = Field(
        default=None,
        description="Where the Data Landing Zone is: a folder, `azure://` (followed by what the names of its "
        "containers begin with, if by anything), or `s3://bucket/prefix`. Default: a folder of the data directory.",
    )
    landing_zone_connection_string: SecretStr | None = Field(
        default=None, description="Connection string, with its account key, of the account for `azure://`."
    )
    landing_zone_endpoint: str | None = Field(
        default=None, description="URL of the compatible store that has the bucket of `s3://`; default: Amazon S3."
    )
    landing_zone_region: str | None = Field(
        default=None, description="Region of the bucket of `s3://`; default: us-east-1."
    )
    landing_zone_role: str | None = Field(
        default=None,
        description="ARN of the role, for `s3://`, of which those who collect files get sessions that are limited to "
        "one zone and to reading.",
    )
    landing_zone_days: int = Field(
        default=7, ge=0, le=36_500, description="Days until a file of the Data Landing Zone is deleted; 0 keeps all."
    )
    landing_zone_credential_seconds: int = Field(
        default=90 * 86_400,
        ge=600,
        le=36_500 * 86_400,
        description="How long credentials of the Data Landing Zone live, in seconds; for `azure://` 3600 at most, for "
        "`s3://` 900 to 3600.",
    )
    vault_key: SecretStr | None = Field(
        default=None,
        description="Base64 of 32 bytes that encrypt stored credentials; default: the file `vault.key` (mode 0600) "
        "in the data directory, made at first start.",
    )
    vault_old_keys: SecretStr | None = Field(
        default=None, description="Earlier values of `vault_key`, with commas; they only open what they sealed."
    )
    processes: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=64,
        description="Worker processes for parts.",
    )
    part_bytes: int = Field(
        default=128 * 1024 * 1024, ge=1, description="Bytes of source files that make one delivered file, at most."
    )
    part_rows: int = Field(
        default=524_288,
        ge=1,
        description="Rows of a dataset that make one delivered file, at most; the default is eight of our row groups.",
    )
    json_gzip_level: int | None = Field(
        default=None,
        ge=1,
        le=9,
        description="How hard JSON files are compressed, from 1 (fastest) to 9 (smallest); left out: 2.",
    )
    json_gzip_members: Literal["single", "many"] = Field(
        default="single",
        description="`single`: a JSON file is one gzip member, which every reader reads whole. `many`: one for each "
        "2 MiB of text, for consumers that read on after the first; takes less CPU from level 5 on.",
    )
    parquet_gzip_level: int | None = Field(
        default=None,
        ge=1,
        le=9,
        description="How hard pages of gzipped Parquet files are compressed, from 1 (fastest) to 9 (smallest); left "
        "out: 1.",
    )
    lease_seconds: float = Field(
        default=30, gt=0, description="How long a silent worker keeps its run before another may take it."
    )
    retry_window_seconds: float = Field(
        default=86_400,
        ge=0,
        description="How long a run waits for its destination or its source where no slot follows: of one-time flows, "
        "of the last slot, of disabled flows, and beside the schedule.",
    )
    retry_margin_seconds: float = Field(
        default=300,
        ge=0,
        description="How long before its flow's next slot a run that waits is given up; half of the time between two "
        "slots at most.",
    )
    retry_alert_seconds: float = Field(
        default=900, ge=0, description="How long a run has waited when a warning in the log names it, once."
    )
    part_attempts: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="Tries of one part, of the plan and of the manifest after transient failures, at most; empty for "
        "as many as fit until the run is given up.",
    )
    retry_wait_seconds: float = Field(
        default=1,
        ge=0,
        description="Wait before the second try; doubles with each further try, up to five minutes (where a "
        "destination does not answer at all: grows by a third, up to one minute), and is cut by chance to between half "
        "and all of it.",
    )
    run_retries: int | None = Field(
        default=None, ge=0, description="Tries again of all of a run's parts together, at most; empty for no bound."
    )
    failures_told: int = Field(
        default=3, ge=1, description="Runs of a flow that fail one after another until it is told, once."
    )
    disable_failing: bool = Field(default=False, description="Disable a flow when its failures are told.")
    default_end_months: int | None = Field(
        default=6, ge=1, description="Calendar months until a flow without `endTime` ends; empty for never."
    )
    hour_intervals: frozenset[int] = Field(
        default=HOUR_INTERVALS, description="Values of `interval` allowed with `timeUnit` hour."
    )
    recurring_full: bool = Field(default=False, description="Allow DAILY_FULL_EXPORT with day/1.")
    runs_of_any_flow: bool = Field(
        default=False, description="Let POST /runs make runs of every enabled flow, not of one-time flows only."
    )
    import_memory_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=256 * 1024 * 1024,
        description="Resident memory, in bytes, of the process that reads the files of a batch, at most; a batch that "
        "takes more fails.",
    )
    import_seconds: float = Field(
        default=120,
        gt=0,
        description="How long the files of a batch may be read, beside a second for each 100 kB of them.",
    )
    strict_sandbox_header: bool = Field(
        default=False,
        description="Refuse requests without `x-sandbox-name` and `x-sandbox-id` instead of using the default sandbox.",
    )
    multi_user: bool | None = Field(
        default=None,
        description="Whoever may call the API may not use this machine's own network: connections then reach public "
        "addresses only. Left out: true when `offtake serve` listens on more than the loopback address.",
    )
    check_connections: bool = Field(
        default=False,
        description="Try base and target connections when they are made: a small object is written and removed, "
        "and what cannot be delivered to is refused.",
    )
    egress_allow: Networks = Field(
        default=(), description="Networks that connections may reach all the same, such as `10.2.0.0/16`, with commas."
    )
    egress_deny: Networks = Field(
        default=(), description="Networks that connections never reach, with commas. Wins over `egress_allow`."
    )
    patience_seconds: float = Field(
        default=60, gt=0, description="How long a destination may say nothing before it is asked again."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of certificate authorities that are trusted beside the system's."
    )
    oidc_issuer: str | None = Field(
        default=None, description="URL of an OpenID Connect issuer whose tokens are accepted beside our own."
    )
    oidc_audience: str | None = Field(default=None, description="The audience that the issuer's tokens must name.")
    oidc_client_claim: str = Field(
        default="azp", description="The claim of the issuer's tokens that holds the id of a client registered here."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks of proxies, with commas, whose `X-Forwarded-For` or `Forwarded` says who "
        "calls, for limits and for the audit log, and whose `X-Forwarded-Proto` says how. Default: none.",
    )
    open_connections: int | None = Field(
        default=None,
        ge=2,
        description="Connections that are open at a time, at most; never more than half of the file descriptors that "
        "the process may have. Default: that half, and 4096 at most.",
    )
    open_connections_per_address: int = Field(
        default=512,
        ge=1,
        description="Of these, from one address (of IPv6, from one /64). For a new one, the one that has carried no "
        "request for the longest time is closed.",
    )
    concurrent_requests: int | None = Field(
        default=None,
        ge=1,
        description="Requests in flight at a time, at most; never more than half of the connections. More are a 503 "
        "with `Retry-After`. Those without a token have half of the places. Default: that half, and 1024 at most.",
    )
    concurrent_requests_per_address: int = Field(
        default=128, ge=1, description="Of these, from one address (of IPv6, from one /64)."
    )
    request_head_seconds: float = Field(
        default=10,
        gt=0,
        description="How long a client may take to send the head of a request, from when it connects or begins it.",
    )
    request_body_seconds: float = Field(
        default=30,
        gt=0,
        description="How long the body of a request may stand still. One that moves may take as long as it likes.",
    )
    sign_ins_per_minute: int = Field(
        default=10,
        ge=1,
        description="Sign-ins with a wrong secret that one client id may have from one address in a minute, and, six "
        "times as many, one address with all ids together.",
    )
    uploads: Path | None = Field(
        default=None,
        description="Where files sent for batches wait; servers that share a database must share it too. "
        "Default: a folder of the data directory.",
    )
    error_type_prefix: str = Field(
        default="https://ns.adobe.com/aep/errors/",
        description="What precedes FLOW-<code>-<status> in an error's type.",
    )

    @field_validator("default_end_months", "part_attempts", "run_retries", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return None if value == "" else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given directly wins over the environment, which wins over `offtake.toml`."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @classmethod
    def at(cls, data_dir: Path | None) -> Self:
        """The settings with `data_dir` made absolute; None keeps the configured one."""
        settings = cls() if data_dir is None else cls(data_dir=data_dir)
        return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})

    @property
    def store_url(self) -> str:
        """The SQLAlchemy URL of the store."""
        return self.database_url or _sqlite(self.data_dir / "offtake.db")

    @property
    def lake_catalog_url(self) -> str:
        """The SQLAlchemy URL of the Iceberg catalog."""
        if self.catalog_url:
            return self.catalog_url
        if self.database_url and not self.database_url.startswith("sqlite"):
            return self.database_url
        return _sqlite(self.data_dir / "lake" / "catalog.db")

    @property
    def lake_warehouse(self) -> str:
        """The location below which Iceberg keeps its files: a URI or a path, of which nothing is percent-encoded."""
        if self.warehouse:
            return self.warehouse
        folder = str(self.data_dir / "lake" / "warehouse")
        # Other libraries cut a URI off at these characters; a path they take as it is.
        return folder if _CUT_OFF.intersection(folder) else f"file://{folder}"

    @property
    def has_zone_folders(self) -> bool:
        """Whether the landing zones are folders of this machine."""
        return not self.landing_zone or "://" not in self.landing_zone

    @property
    def landing_zone_root(self) -> Path:
        """The folder with one landing zone per sandbox, where they are folders."""
        return Path(self.landing_zone) if self.landing_zone else self.data_dir / "landing-zone"

    @property
    def uploads_root(self) -> Path:
        """The folder with one folder per batch that is being sent."""
        return self.uploads or self.data_dir / "uploads"
