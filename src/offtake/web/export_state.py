"""What the export wizard knows of its form: what it refers to, its problems by step, and previews."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from offtake.errors import InvalidInputError
from offtake.flows import folder_templates
from offtake.flows.folder_templates import TemplateValues
from offtake.store.tables import Connection
from offtake.web import export_form, schedule_form, schedules
from offtake.web.export_form import REVIEW, ExportForm
from offtake.web.person import Person

_PREVIEWED: Final = 3
_EXAMPLE_FILE: Final = "part-00000-…"
_EXAMPLE: Final = [("DATASET_ID", "Dataset")]


@dataclass
class State:
    """The form with what it refers to. `chosen`: id and name of the datasets; `problems`: of each step, by field."""

    form: ExportForm
    account: Connection | None = None
    chosen: Sequence[tuple[str, str]] = ()
    organisation: str = ""
    problems: dict[int, dict[str, str]] = field(default_factory=dict)

    def first_wrong(self) -> int:
        """The first step with a problem; the review without one."""
        return next((step for step in range(1, REVIEW) if self.problems.get(step)), REVIEW)


def previews(person: Person, state: State) -> dict[str, Any]:
    """The paths of the first chosen datasets and the next runs, or what is wrong with them, for the templates."""
    form, now = state.form, person.now_ms
    found: dict[str, Any] = {"slots": [], "slot_problem": "", "words": "", "content": ""}
    try:
        schedule = export_form.schedule_of(form, now, person.backend.schedule_rules)
        found["slots"] = schedule_form.next_slots(schedule, now)
        found["words"], found["content"] = schedules.in_words(schedule), schedules.content(schedule)
    except InvalidInputError as error:
        found["slot_problem"] = "; ".join(one.message for one in error.problems if one.path != "template")
    wrong = folder_templates.check_template(form.template) if form.template else []
    at = found["slots"][0] if found["slots"] else now
    return found | {"path_problem": "; ".join(wrong), "paths": [] if wrong else _paths(person, state, at)}


def _paths(person: Person, state: State, at_ms: int) -> list[str]:
    form = state.form
    found = []
    for dataset_id, name in list(state.chosen)[:_PREVIEWED] or _EXAMPLE:
        values = TemplateValues(
            destination=form.destination.name if form.destination else "",
            dataset_id=dataset_id,
            dataset_name=name,
            flow_name=form.name or "Dataflow",
            flow_id="DATAFLOW_ID",
            sandbox_name=person.caller.sandbox_name,
            organization_name=state.organisation,
        )
        folder = folder_templates.expand(form.template or None, values, at_ms)
        found.append("/".join(one for one in (_root(form), folder, _EXAMPLE_FILE) if one))
    return found


def _root(form: ExportForm) -> str:
    """The target's folder, as far as it was entered."""
    try:
        return form.target().folder() if form.destination else ""
    except InvalidInputError:
        return str(form.params.get("path", "")).strip("/")
