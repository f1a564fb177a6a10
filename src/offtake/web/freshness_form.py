"""The freshness target of a dataflow: the field of its settings, and the rule in words."""

from typing import Final

from offtake.client import durations
from offtake.contract.json_patch import Operation
from offtake.errors import OfftakeError
from offtake.flows.flows import LEAST_FRESHNESS_S, MOST_FRESHNESS_S
from offtake.flows.lateness import tolerance_ms
from offtake.flows.schedule import Schedule

LABEL: Final = "Freshness target"
NAME: Final = "fresh_within"
PATH: Final = "/extensions/freshWithinSeconds"


def stored_text(seconds: int | None) -> str:
    """The stored target as the field shows it; empty for none."""
    return "" if seconds is None else durations.describe(seconds)


def problem_of(entered: str, stored: int | None) -> str:
    """What is wrong with the entered target; empty when nothing is."""
    try:
        seconds = _seconds(entered, stored)
    except OfftakeError as error:
        return str(error)
    if seconds is not None and not LEAST_FRESHNESS_S <= seconds <= MOST_FRESHNESS_S:
        least, most = durations.describe(LEAST_FRESHNESS_S), durations.describe(MOST_FRESHNESS_S)
        return f"must be at least {least} and at most {most}"
    return ""


def operations(entered: str, stored: int | None) -> list[Operation]:
    """The change of the target, which has no problem; empty when it stays."""
    seconds = _seconds(entered, stored)
    if seconds == stored:
        return []
    return [Operation("remove", PATH) if seconds is None else Operation("add", PATH, seconds)]


def in_words(seconds: int | None, schedule: Schedule) -> str:
    """When the dataflow is late: `its data is older than 4h`, or the default for its schedule."""
    if seconds is not None and not schedule.one_time:
        return f"its data is older than {durations.describe(seconds)}"
    return f"a slot is not delivered after {durations.describe(tolerance_ms(schedule) // 1000)}"


def default_in_words(schedule: Schedule) -> str:
    """When the dataflow is late without a target."""
    allowed = durations.describe(tolerance_ms(schedule) // 1000)
    return f"a slot is not delivered after a tenth of the interval, at least 5m: {allowed} for the stored schedule"


def _seconds(entered: str, stored: int | None) -> int | None:
    """The entered target. The stored one may have seconds, which only the API sets."""
    if entered == stored_text(stored):
        return stored
    return durations.parse(entered or durations.NONE)
