"""Settings by names of earlier versions: from the environment and from `offtake.toml`, with a warning."""

import logging
import os
from collections.abc import Callable, Collection
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


def _by_present_names(earlier: dict[str, Any], present: Collection[str], spell: Callable[[str], str]) -> dict[str, Any]:
    """The values of `earlier` names by their present names; each name is a warning in the log.

    `present`: the present names of the same source that are set; they win.
    """
    found = {}
    for old, value in sorted(earlier.items()):
        new = RENAMED[old]
        if new in present:
            _log.warning("The setting %s is ignored, because %s is set; remove it.", spell(old), spell(new))
        else:
            _log.warning("The setting %s is now called %s; the old name still works.", spell(old), spell(new))
            found[new] = value
    return found


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
        present = [name for name in RENAMED.values() if _variable(name) in found]
        return _by_present_names(earlier, present, _variable)


class SettingsFile(TomlConfigSettingsSource):
    """`offtake.toml` in the working directory."""

    def __call__(self) -> dict[str, Any]:
        """The values, by present names."""
        values = super().__call__()
        present = {name: value for name, value in values.items() if name.lower() not in RENAMED}
        earlier = {name.lower(): value for name, value in values.items() if name not in present}
        return _by_present_names(earlier, [name.lower() for name in present], str) | present
