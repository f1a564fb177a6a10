"""What the export wizard knows of its form: what it refers to, its problems by step, and previews."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from offtake.contract import folder_templates
from offtake.contract.folder_templates import TemplateValues
from offtake.documents import ColumnChoiceDocument
from offtake.errors import InvalidInputError
from offtake.store.tables import Connection
from offtake.web import macros, schedule_form, schedules
from offtake.web.export_form import REVIEW, ExportForm
from offtake.web.macros import Macro
from offtake.web.person import Person
from offtake.web.places import place_of
from offtake.web.schedule_form import ScheduleForm

_PREVIEWED: Final = 3
_LONGEST_NAME: Final = 100
_EXAMPLE_FILE: Final = "part-00000-…"
_EXAMPLE: Final = [("DATASET_ID", "Dataset")]


@dataclass
class State:
    """The form with what it refers to. `chosen`: id and name of the datasets; `problems`: of each step, by field.

    `columns`: the chosen columns by dataset id, looked up in the tables.
    """

    form: ExportForm
    account: Connection | None = None
    chosen: Sequence[tuple[str, str]] = ()
    organisation: str = ""
    problems: dict[int, dict[str, str]] = field(default_factory=dict)
    columns: dict[str, ColumnChoiceDocument] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The dataflow's name; until the field was shown, the suggested one."""
        if "name" in self.form.sent or self.form.destination is None or not self.chosen:
            return self.form.name
        more = f" and {len(self.chosen) - 1} more" if len(self.chosen) > 1 else ""
        to = self.account.name if self.account else self.form.destination.name
        return f"{self.chosen[0][1][:_LONGEST_NAME]}{more} to {to[:_LONGEST_NAME]}"

    def first_wrong(self) -> int:
        """The first step with a problem; the review without one."""
        return next((step for step in range(1, REVIEW) if self.problems.get(step)), REVIEW)


@dataclass(frozen=True)
class Preview:
    """What a dataflow's form would give: the folders of the first runs and their times, or what is wrong, in words.

    `slots`: in epoch milliseconds. `start_ms`, `end_ms`: the first run and the end, to show them in both time zones.
    `is_local`: they were not entered in UTC.
    """

    slots: Sequence[int] = ()
    slot_problem: str = ""
    template_problem: str = ""
    words: str = ""
    content: str = ""
    ends: str = ""
    end_ms: int | None = None
    is_local: bool = False
    start_ms: int | None = None
    paths: Sequence[str] = ()
    macros: Sequence[Macro] = ()


@dataclass(frozen=True)
class Place:
    """What a preview of paths knows of a dataflow. `flow_id`: a placeholder until it is created; `root`: the folder."""

    destination: str
    flow_name: str
    flow_id: str
    root: str
    datasets: Sequence[tuple[str, str]]
    organisation: str


def previews(person: Person, state: State) -> Preview:
    """The preview of the wizard's form."""
    form = state.form
    place = Place(
        destination=form.destination.name if form.destination else "",
        flow_name=state.name or "Dataflow",
        flow_id="DATAFLOW_ID",
        root=place_of(form.destination.connection_spec_id, form.params) if form.destination else "",
        datasets=state.chosen,
        organisation=state.organisation,
    )
    return preview(person, place, form.schedule, form.template, person.now_ms // 1000)


def preview(person: Person, place: Place, entered: ScheduleForm, template: str, created_at: int) -> Preview:
    """The preview of a schedule and a folder template; the schedule counts from now."""
    rules, now, wrong = person.backend.schedule_rules, person.now_ms, macros.problem_of(template)
    found = Preview(template_problem=wrong)
    try:
        schedule = schedule_form.check(entered, None, created_at, rules)
        slots = schedule_form.next_slots(schedule, now)
        found = replace(
            found,
            slots=slots,
            words="Once, now" if entered.at_once else schedules.in_words(schedule),
            content=schedules.content(schedule),
            ends=schedules.end_in_words(schedule),
            is_local=entered.zone != "UTC",
            end_ms=None if schedule.one_time or schedule.end_time is None else schedule.end_time * 1000,
            start_ms=None if entered.at_once else schedule.start_time * 1000,
        )
    except InvalidInputError as error:
        found = replace(found, slot_problem="; ".join(one.message for one in error.problems))
    at = found.slots[0] if found.slots else now
    values = [_values(person, place, one) for one in list(place.datasets)[:_PREVIEWED] or _EXAMPLE]
    folders = [] if wrong else [folder_templates.expand(template or None, one, at) for one in values]
    paths = ["/".join(one for one in (place.root, folder, _EXAMPLE_FILE) if one) for folder in folders]
    return replace(found, paths=paths, macros=macros.shown(values[0], at))


def _values(person: Person, place: Place, dataset: tuple[str, str]) -> TemplateValues:
    return TemplateValues(
        destination=place.destination,
        dataset_id=dataset[0],
        dataset_name=dataset[1],
        flow_name=place.flow_name,
        flow_id=place.flow_id,
        sandbox_name=person.caller.sandbox_name,
        organization_name=place.organisation,
    )
