"""Settings by names of earlier versions: from the environment and from `offtake.toml`, with a warning."""

import logging
import os
from collections.abc import Callable
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource, TomlConfigSettingsSource

PREFIX: Final = "OFFTAKE_"
RENAMED: Final = {
    "default_end_months": "default_schedule_months",
    "disable_failing": "disable_flow_after_alert",
    "failures_told": "failure_alert_threshold",
    "landing_zone_days": "landing_zone_retention_days",
    "part_attempts": "part_max_attempts",
    "patience_seconds": "read_timeout_seconds",
    "processes": "export_processes",
    "recurring_full": "allow_daily_full_export",
    "retry_wait_seconds": "retry_initial_delay_seconds",
    "run_retries": "run_max_retries",
    "runs_of_any_flow": "allow_run_for_any_flow",
    "uploads": "upload_dir",
}
"""Names that settings had before version 0.1.0, and their present names. Both are accepted; the present name wins."""

_log = logging.getLogger(__name__)


def _with_present_names(values: dict[str, Any], spell: Callable[[str], str]) -> dict[str, Any]:
    """The values by the present names of their settings; each earlier name is a warning in the log."""
    for old in values.keys() & RENAMED.keys():
        _log.warning("The setting %s is now called %s; the old name still works.", spell(old), spell(RENAMED[old]))
    earlier = {RENAMED[name]: value for name, value in values.items() if name in RENAMED}
    return earlier | {name: value for name, value in values.items() if name not in RENAMED}


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


class RenamedVariables(PydanticBaseSettingsSource):
    """Environment variables by the names that they had before."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing by field: the source is read as a whole."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values, by present names."""
        found = {name.upper(): value for name, value in os.environ.items()}
        earlier = {name: found[_variable(name)] for name in RENAMED if _variable(name) in found}
        return _with_present_names(earlier, _variable)


class SettingsFile(TomlConfigSettingsSource):
    """`offtake.toml` in the working directory."""

    def __call__(self) -> dict[str, Any]:
        """The values, by present names."""
        return _with_present_names(super().__call__(), str)
