"""One typed settings object: `OFFTAKE_*` variables, then `offtake.toml`, then defaults that need nothing installed."""

import json
import os
import re
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
)

from offtake.renamed_settings import PREFIX, RenamedVariables, SettingsFile

HOUR_INTERVALS: Final = frozenset({1, 3, 6, 8, 9, 12, 24})
"""Every 1, 3, 6, 8 or 12 hours is what the vendor's UI offers, 9 what its API tutorial has; 24 is the same as daily."""
_FILE: Final = re.compile("^file:(?://(?:localhost(?=/))?)?", re.IGNORECASE)
_NO_DRIVER: Final = re.compile("^postgres(?:ql)?://")
_CUT_OFF: Final = frozenset("#?\t\r\n")


def _sqlite(file: Path) -> str:
    return f"sqlite:///{quote(str(file))}"


def _text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _json(value: object) -> object:
    """A table of `offtake.toml` as the JSON object that an environment variable would have."""
    return json.dumps(value) if isinstance(value, dict) else value


def with_driver(url: object) -> object:
    """A PostgreSQL URL that names no driver, with the driver that Offtake installs."""
    return _NO_DRIVER.sub("postgresql+psycopg://", url) if isinstance(url, str) else url


DatabaseUrl = Annotated[str | None, BeforeValidator(with_driver)]


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(ip_network(one.strip()) for one in value.split(",") if one.strip())


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


class Settings(BaseSettings):
    """The settings of a deployment. Sizes are bytes, durations seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="offtake.toml", extra="forbid", hide_input_in_errors=True
    )

    data_dir: Path = Field(
        default=Path("offtake-data"),
        description="Folder of the embedded defaults: store, catalog, warehouse, uploads, landing zone and keys.",
    )
    readers_group: str | None = Field(
        default=None,
        description="Name or number of a group of this machine. Its members may read the warehouse and the landing "
        "zone, where these are folders, and the files in them; no other user can read any file. When the setting is "
        "removed, folders outside of the data directory stay readable by the group. Default: no group.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Format of the log's lines: `text`, or `json` with one object per line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level of lines that are written to the log."
    )
    database_url: DatabaseUrl = Field(
        default=None,
        description="URL of the store's database, such as `postgresql://offtake@db.example.org/offtake`; default: "
        "SQLite in the data directory.",
    )
    auto_upgrade: bool = Field(
        default=True,
        description="Whether each command and process migrates the tables of an earlier version of Offtake. If false, "
        "only `offtake init` does, and the others refuse to start until then.",
    )
    catalog_url: DatabaseUrl = Field(
        default=None,
        description="URL of the Iceberg catalog's database; default: the store's database when that is a server, "
        "else SQLite in the data directory.",
    )
    warehouse: str | None = Field(
        default=None,
        description="Place of the datasets' files: a folder (a path or a `file:` URI, taken literally), or "
        "`s3://bucket/folder`, `abfss://container@account.dfs.core.windows.net/folder` or `gs://bucket/folder`. A "
        "relative path depends on the working directory of each command. Default: a folder of the data directory.",
    )
    storage: Annotated[SecretStr | None, BeforeValidator(_json)] = Field(
        default=None,
        description="Endpoint and credentials of the stores of `warehouse` and `upload_dir`: `name=value` pairs "
        "separated by spaces, or a JSON object, with names such as `s3.endpoint`, `s3.region`, `s3.access-key-id`, "
        "`adls.account-key` or `gcs.service-account-key`. Without credentials, the server's own identity is used.",
    )
    landing_zone: Annotated[str | None, BeforeValidator(_text)] = Field(
        default=None,
        description="Place of the Data Landing Zone: a folder, `azure://` with an optional prefix of its containers' "
        "names, or `s3://bucket/prefix`. Default: a folder of the data directory.",
    )
    landing_zone_connection_string: SecretStr | None = Field(
        default=None, description="Connection string, with account key, of the storage account for `azure://`."
    )
    landing_zone_endpoint: str | None = Field(
        default=None, description="URL of the S3-compatible store of `s3://`; default: Amazon S3."
    )
    landing_zone_region: str | None = Field(
        default=None, description="Region of the bucket of `s3://`; default: us-east-1."
    )
    landing_zone_role: str | None = Field(
        default=None,
        description="ARN of a role, for `s3://`. Consumers get temporary sessions of it that can only read one zone.",
    )
    landing_zone_retention_days: int = Field(
        default=7, ge=0, le=36_500, description="Days after which a file of the Data Landing Zone is deleted; 0: never."
    )
    landing_zone_credential_seconds: int = Field(
        default=90 * 86_400,
        ge=600,
        le=36_500 * 86_400,
        description="Lifetime of credentials of the Data Landing Zone, in seconds; at most 3600 for `azure://`, 900 to "
        "3600 for `s3://`.",
    )
    vault_key: SecretStr | None = Field(
        default=None,
        description="Key that encrypts stored credentials: base64 of 32 bytes. Default: the file `vault.key` (mode "
        "0600) in the data directory, created at the first start.",
    )
    vault_old_keys: SecretStr | None = Field(
        default=None, description="Earlier values of `vault_key`, separated by commas; used for decryption only."
    )
    export_processes: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=64,
        description="Worker processes that write parts.",
    )
    part_bytes: int = Field(
        default=128 * 1024 * 1024, ge=1, description="Largest number of bytes of source files per delivered file."
    )
    part_rows: int = Field(
        default=524_288,
        ge=1,
        description="Largest number of rows per delivered file; the default is eight row groups as Offtake writes "
        "them.",
    )
    json_gzip_level: int | None = Field(
        default=None,
        ge=1,
        le=9,
        description="Compression level of gzipped JSON files, from 1 (fastest) to 9 (smallest); default: 2.",
    )
    json_gzip_members: Literal["single", "many"] = Field(
        default="single",
        description="`single`: a JSON file is one gzip member, which every reader reads completely. `many`: one member "
        "per 2 MiB of text, for consumers that read multi-member files; needs less CPU from level 5 on.",
    )
    parquet_gzip_level: int | None = Field(
        default=None,
        ge=1,
        le=9,
        description="Compression level of pages of gzipped Parquet files, from 1 (fastest) to 9 (smallest); default: "
        "1.",
    )
    lease_seconds: float = Field(
        default=30,
        gt=0,
        description="Lease of a run, in seconds: a worker without heartbeat loses its run after that time.",
    )
    retry_window_seconds: float = Field(
        default=86_400,
        ge=0,
        description="How long a run waits for its destination or source, in seconds, when no slot follows: runs of "
        "one-time and disabled flows, of the last slot, and on request.",
    )
    retry_margin_seconds: float = Field(
        default=300,
        ge=0,
        description="How long before the flow's next slot a waiting run fails, in seconds; at most half of the time "
        "between two slots.",
    )
    catalog_sync_minutes: int = Field(
        default=15,
        ge=1,
        le=10_080,
        description="Minutes after which a namespace that is kept in step is compared with its catalog again.",
    )
    retry_alert_seconds: float = Field(
        default=900, ge=0, description="Seconds of waiting after which a run is named in the log, once, as a warning."
    )
    part_max_attempts: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="Largest number of attempts at one part, at the plan and at the manifest; empty: no limit but the "
        "run's window.",
    )
    retry_initial_delay_seconds: float = Field(
        default=1,
        ge=0,
        description="Delay before the second attempt, in seconds. Exponential backoff with jitter: the delay doubles, "
        "up to five minutes (grows by a third, up to one minute, when a destination does not answer at all), and a "
        "random half of it is taken off.",
    )
    run_max_retries: int | None = Field(
        default=None, ge=0, description="Largest number of retries for all parts of a run together; empty: no limit."
    )
    failure_alert_threshold: int = Field(
        default=3, ge=1, description="Consecutive failed runs of a flow after which an alert is logged, once."
    )
    disable_flow_after_alert: bool = Field(
        default=False, description="Also disable the flow when that alert is logged."
    )
    default_schedule_months: int | None = Field(
        default=6, ge=1, description="Calendar months after which a flow without `endTime` ends; empty: never."
    )
    hour_intervals: frozenset[int] = Field(
        default=HOUR_INTERVALS, description="Values of `interval` allowed with `timeUnit` hour."
    )
    allow_daily_full_export: bool = Field(
        default=False, description="Allow DAILY_FULL_EXPORT with a schedule of one day."
    )
    allow_run_for_any_flow: bool = Field(
        default=False, description="Let POST /runs start every enabled flow, not only one-time flows."
    )
    import_memory_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=256 * 1024 * 1024,
        description="Largest resident memory, in bytes, of the process that reads the files of a batch; a batch that "
        "needs more fails.",
    )
    import_seconds: float = Field(
        default=120,
        gt=0,
        description="Seconds within which the files of a batch must be read, plus one second per 100 kB.",
    )
    strict_sandbox_header: bool = Field(
        default=False,
        description="Refuse requests without `x-sandbox-name` and `x-sandbox-id` instead of using the default sandbox.",
    )
    multi_user: bool | None = Field(
        default=None,
        description="SSRF protection: connections of API users reach public addresses only, not this machine's "
        "network. Default: true when `offtake serve` listens on more than the loopback address.",
    )
    check_connections: bool = Field(
        default=False,
        description="Test base and target connections when they are created: a small object is written and removed. A "
        "connection that fails the test is refused.",
    )
    egress_allow: Networks = Field(
        default=(),
        description="Allow-list: networks that stay reachable under `multi_user`, such as `10.2.0.0/16`, separated by "
        "commas.",
    )
    egress_deny: Networks = Field(
        default=(),
        description="Deny-list: networks that connections never reach, separated by commas. Wins over `egress_allow`.",
    )
    read_timeout_seconds: float = Field(
        default=60, gt=0, description="Read timeout of a destination, in seconds; after it, the request is retried."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of certificate authorities that are trusted in addition to the system's."
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="SMTP server for e-mails of alerts: `smtps://user:password@host` (TLS) or "
        "`smtp://user:password@host` (STARTTLS, required). `smtp://host:25?tls=off` sends without encryption and "
        "without a login. Default: no e-mails.",
    )
    smtp_from: str | None = Field(
        default=None,
        description="Sender address of the e-mails, required with `smtp_url`, such as offtake@example.org.",
    )
    smtp_domains: str = Field(
        default="",
        description="Domains that e-mails may be sent to, separated by commas. Default: any; users who may manage "
        "destinations choose the recipients.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="URL of an OpenID Connect issuer whose tokens are accepted in addition to Offtake's own.",
    )
    oidc_audience: str | None = Field(
        default=None,
        description="The audience that the issuer's tokens must name. Without it, the API accepts no tokens of the "
        "issuer; it may only be missing if `oidc_web_client_id` is set.",
    )
    oidc_client_claim: str = Field(
        default="azp", description="The claim of the issuer's tokens that holds the id of a client registered here."
    )
    oidc_web_client_id: str | None = Field(
        default=None,
        description="Id of the pages' client at the issuer. People then sign in to the pages through the issuer, which "
        "must have an https URL (http only on the loopback address). Default: they sign in with API clients only.",
    )
    oidc_web_client_secret: SecretStr | None = Field(
        default=None,
        description="Secret of the pages' client at the issuer. Default: a public client, which PKCE alone protects.",
    )
    oidc_scopes: str = Field(
        default="openid profile email",
        description="Scopes that the pages request from the issuer, separated by spaces; `openid` must be one of them.",
    )
    oidc_person_claim: str = Field(
        default="sub",
        description="The claim of ID tokens that, with the issuer, identifies a person. Its values must be unique and "
        "never assigned to another person. After a change of this setting, everyone is a new person without roles.",
    )
    oidc_groups_claim: str | None = Field(
        default=None,
        description="The claim of ID tokens with a person's groups: at each sign-in, the person gets the roles whose "
        "names equal a group, and loses those that came from other groups. Default: roles are assigned here only.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks of proxies, separated by commas. Their `X-Forwarded-For` or `Forwarded` "
        "names the client's address, for limits and the audit log, and their `X-Forwarded-Proto` its scheme. "
        "Default: none.",
    )
    open_connections: int | None = Field(
        default=None,
        ge=2,
        description="Largest number of open connections; never more than half of the process's limit of file "
        "descriptors. Default: that half, at most 4096.",
    )
    open_connections_per_address: int = Field(
        default=512,
        ge=1,
        description="Largest number of open connections from one address (for IPv6, from one /64). A further one "
        "closes the connection that has been idle for the longest time.",
    )
    concurrent_requests: int | None = Field(
        default=None,
        ge=1,
        description="Largest number of requests in flight; never more than half of the connections. Further requests "
        "get 503 with `Retry-After`. Requests without a token have half of the places. Default: that half, at most "
        "1024.",
    )
    concurrent_requests_per_address: int = Field(
        default=128, ge=1, description="Largest number of requests in flight from one address (for IPv6, from one /64)."
    )
    request_head_seconds: float = Field(
        default=10,
        gt=0,
        description="Seconds within which a client must send the head of a request, from its connect or its first "
        "byte.",
    )
    request_body_seconds: float = Field(
        default=30,
        gt=0,
        description="Idle timeout of a request's body, in seconds. A body that keeps arriving has no limit of time.",
    )
    drain_seconds: float = Field(
        default=0,
        ge=0,
        le=600,
        description="Seconds for which a server that is stopped serves further requests, while `/readyz` responds 503, "
        "so that a load balancer stops sending them before the server closes its port.",
    )
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port on which `offtake worker` serves `/healthz`, `/readyz` and `/metrics`. Default: none.",
    )
    worker_host: str = Field(
        default="127.0.0.1", description="Address on which `offtake worker` listens with `worker_port`."
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port on which `offtake serve` serves `/metrics`, and `/healthz` and `/readyz`, apart from the "
        "API. Default: none.",
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Address on which `offtake serve` listens with `metrics_port`."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token that `/metrics` requires, 16 characters or more. With it, `/metrics` is also served "
        "on the port of the API. Default: `/metrics` is served on `metrics_port` and `worker_port` only, without a "
        "token.",
    )
    tracing: bool = Field(
        default=False,
        description="Send traces by OTLP over HTTP, as the standard variables `OTEL_…` say; needs `offtake[otel]`.",
    )
    sign_ins_per_minute: int = Field(
        default=10,
        ge=1,
        description="Rate limit: failed sign-ins per minute of one client id from one address. One address with all "
        "ids together may fail six times as often.",
    )
    upload_dir: Annotated[str | None, BeforeValidator(_text)] = Field(
        default=None,
        description="Place of files that were uploaded for batches, in the forms of `warehouse`; servers that share a "
        "database must share it. Default: a folder of the data directory.",
    )
    event_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which events of runs, flows, batches and connections are stored.",
    )
    snapshot_days: int | None = Field(
        default=30,
        ge=1,
        description="Days for which earlier states of datasets stay, for backfills by date and for restoring backups "
        "of a warehouse in an object store. Snapshots that a flow or a run still needs stay longer. Empty: for ever.",
    )
    snapshot_count: int = Field(
        default=2000,
        ge=10,
        description="Largest number of earlier states of a dataset within `snapshot_days`, apart from those that a "
        "flow or a run still needs.",
    )
    compaction_days: int | None = Field(
        default=7,
        ge=0,
        description="Days after which small data files of a dataset are merged. A batch whose rows were merged can no "
        "longer be reverted or replaced. Empty: never.",
    )
    error_type_prefix: str = Field(
        default="https://ns.adobe.com/aep/errors/",
        description="Prefix of FLOW-<code>-<status> in the `type` of an error.",
    )

    @field_validator(
        "default_schedule_months",
        "part_max_attempts",
        "run_max_retries",
        "snapshot_days",
        "compaction_days",
        mode="before",
    )
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
        """Arguments win over the environment, which wins over `offtake.toml`."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, RenamedVariables(settings_cls), SettingsFile(settings_cls))

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
    def uploads_location(self) -> str:
        """The location with one folder per batch that is being sent."""
        return self.upload_dir or str(self.data_dir / "uploads")

    @property
    def uploads_root(self) -> Path:
        """The folder of `uploads_location`, where that is not in an object store."""
        return Path(_FILE.sub("", self.uploads_location))
