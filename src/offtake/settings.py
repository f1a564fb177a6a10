"""One typed settings object: `OFFTAKE_*` variables, then `offtake.toml`, then defaults that need nothing installed.

The names and defaults are here. `offtake.setting_types` has a module for each part of a deployment, with the types,
bounds and descriptions of its settings.
"""

import os
import re
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from offtake.renamed_settings import PREFIX, RenamedVariables, SettingsFile
from offtake.setting_types import (
    datasets,
    exports,
    network,
    observing,
    places,
    retries,
    schedules,
    serving,
    signing_in,
    zones,
)

HOUR_INTERVALS: Final = frozenset({1, 3, 6, 8, 9, 12, 24})
"""Every 1, 3, 6, 8 or 12 hours is what the vendor's UI offers, 9 what its API tutorial has; 24 is the same as daily."""
_FILE: Final = re.compile("^file:(?://(?:localhost(?=/))?)?", re.IGNORECASE)
_CUT_OFF: Final = frozenset("#?\t\r\n")


def _sqlite(file: Path) -> str:
    return f"sqlite:///{quote(str(file))}"


class Settings(BaseSettings):
    """The settings of a deployment. Sizes are bytes, durations seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="offtake.toml", extra="forbid", hide_input_in_errors=True
    )

    # The places of a deployment: its folder, databases, warehouse, uploads and keys.
    data_dir: places.DataDir = Path("offtake-data")
    readers_group: places.ReadersGroup = None
    database_url: places.DatabaseUrl = None
    auto_upgrade: places.AutoUpgrade = True
    catalog_url: places.CatalogUrl = None
    warehouse: places.Warehouse = None
    storage: places.Storage = None
    upload_dir: places.UploadDir = None
    vault_key: places.VaultKey = None
    vault_old_keys: places.VaultOldKeys = None

    # The Data Landing Zone: its place, and the lifetimes of its files and credentials.
    landing_zone: zones.LandingZone = None
    landing_zone_connection_string: zones.LandingZoneConnectionString = None
    landing_zone_endpoint: zones.LandingZoneEndpoint = None
    landing_zone_region: zones.LandingZoneRegion = None
    landing_zone_role: zones.LandingZoneRole = None
    landing_zone_retention_days: zones.LandingZoneRetentionDays = 7
    landing_zone_credential_seconds: zones.LandingZoneCredentialSeconds = 90 * 86_400

    # What operators observe: the log, metrics, traces and events.
    log_format: observing.LogFormat = "text"
    log_level: observing.LogLevel = "info"
    metrics_port: observing.MetricsPort = None
    metrics_host: observing.MetricsHost = "127.0.0.1"
    metrics_token: observing.MetricsToken = None
    tracing: observing.Tracing = False
    event_days: observing.EventDays = 30

    # The files that exports write, and the processes that write them.
    export_processes: exports.ExportProcesses = Field(default_factory=lambda: min(os.cpu_count() or 1, 8))
    part_bytes: exports.PartBytes = 128 * 1024 * 1024
    part_rows: exports.PartRows = 524_288
    json_gzip_level: exports.JsonGzipLevel = None
    json_gzip_members: exports.JsonGzipMembers = "single"
    parquet_gzip_level: exports.ParquetGzipLevel = None

    # What happens to runs that fail or wait.
    lease_seconds: retries.LeaseSeconds = 30
    retry_window_seconds: retries.RetryWindowSeconds = 86_400
    retry_margin_seconds: retries.RetryMarginSeconds = 300
    retry_alert_seconds: retries.RetryAlertSeconds = 900
    part_max_attempts: retries.PartMaxAttempts = None
    retry_initial_delay_seconds: retries.RetryInitialDelaySeconds = 1
    run_max_retries: retries.RunMaxRetries = None
    failure_alert_threshold: retries.FailureAlertThreshold = 3
    disable_flow_after_alert: retries.DisableFlowAfterAlert = False

    # What the schedules of flows may be.
    default_schedule_months: schedules.DefaultScheduleMonths = 6
    hour_intervals: schedules.HourIntervals = HOUR_INTERVALS
    allow_daily_full_export: schedules.AllowDailyFullExport = False
    allow_run_for_any_flow: schedules.AllowRunForAnyFlow = False

    # Datasets: imports, catalogs that are kept in step, and earlier states.
    import_memory_bytes: datasets.ImportMemoryBytes = 1024 * 1024 * 1024
    import_seconds: datasets.ImportSeconds = 120
    catalog_sync_minutes: datasets.CatalogSyncMinutes = 15
    snapshot_days: datasets.SnapshotDays = 30
    snapshot_count: datasets.SnapshotCount = 2000
    compaction_days: datasets.CompactionDays = 7

    # What the server connects to: destinations, catalogs and the SMTP server.
    multi_user: network.MultiUser = None
    check_connections: network.CheckConnections = False
    egress_allow: network.EgressAllow = ()
    egress_deny: network.EgressDeny = ()
    read_timeout_seconds: network.ReadTimeoutSeconds = 60
    ca_file: network.CaFile = None
    smtp_url: network.SmtpUrl = None
    smtp_from: network.SmtpFrom = None
    smtp_domains: network.SmtpDomains = ""

    # How clients and people sign in.
    oidc_issuer: signing_in.OidcIssuer = None
    oidc_audience: signing_in.OidcAudience = None
    oidc_client_claim: signing_in.OidcClientClaim = "azp"
    oidc_web_client_id: signing_in.OidcWebClientId = None
    oidc_web_client_secret: signing_in.OidcWebClientSecret = None
    oidc_scopes: signing_in.OidcScopes = "openid profile email"
    oidc_person_claim: signing_in.OidcPersonClaim = "sub"
    oidc_groups_claim: signing_in.OidcGroupsClaim = None
    sign_ins_per_minute: signing_in.SignInsPerMinute = 10

    # How the API is served: proxies, limits and ports.
    trusted_proxies: serving.TrustedProxies = ()
    open_connections: serving.OpenConnections = None
    open_connections_per_address: serving.OpenConnectionsPerAddress = 512
    concurrent_requests: serving.ConcurrentRequests = None
    concurrent_requests_per_address: serving.ConcurrentRequestsPerAddress = 128
    request_head_seconds: serving.RequestHeadSeconds = 10
    request_body_seconds: serving.RequestBodySeconds = 30
    drain_seconds: serving.DrainSeconds = 0
    worker_port: serving.WorkerPort = None
    worker_host: serving.WorkerHost = "127.0.0.1"
    strict_sandbox_header: serving.StrictSandboxHeader = False
    error_type_prefix: serving.ErrorTypePrefix = "https://ns.adobe.com/aep/errors/"

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
