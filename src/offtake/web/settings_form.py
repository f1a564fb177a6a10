"""The settings of a dataflow as a form: what was entered, how it differs from what is stored, and the operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.datastructures import FormData

from offtake.contract.json_patch import Operation
from offtake.destinations import registry, schema
from offtake.destinations.base import Destination
from offtake.documents import ColumnChoiceDocument, Json
from offtake.errors import InvalidInputError
from offtake.flows import column_choices
from offtake.flows.flow_views import FlowView
from offtake.flows.schedule import ScheduleRules
from offtake.web import column_form, export_form, forms, freshness_form, macros, schedule_form, schedules
from offtake.web.form_body import text, texts
from offtake.web.forms import Field
from offtake.web.person import Person
from offtake.web.schedule_form import ScheduleForm
from offtake.web.times import zone_of

_MANY: Final = 20


@dataclass(frozen=True)
class SettingsForm:
    """The form as it was sent, or `sent` None: as it is stored. Fields that were not sent have their stored values.

    `names`: of the stored datasets, by id. `hidden`: stored datasets that the person may not see: they stay.
    """

    person: Person
    view: FlowView
    names: Mapping[str, str]
    sent: FormData | None = None
    hidden: Sequence[str] = ()

    @property
    def destination(self) -> Destination | None:
        """The destination; None for one that this version does not know."""
        return registry.by_connection_spec_id(self.view.target.connection_spec_id)

    @property
    def name(self) -> str:
        """The dataflow's name."""
        return self._text("name", self.view.flow.name)

    @property
    def description(self) -> str:
        """The dataflow's description."""
        return self._text("description", self.view.flow.description or "")

    @property
    def labels(self) -> list[str]:
        """The labels, one a line in the form."""
        lines = self._text("labels", "\n".join(self.view.labels)).split("\n")
        return [one.strip() for one in lines if one.strip()]

    @property
    def template(self) -> str:
        """The folder template; empty for the default."""
        return self._text("template", self.view.schedule.folder_name_template or "")

    @property
    def fresh_within(self) -> str:
        """The freshness target, such as 4h; empty for none."""
        return self._text(freshness_form.NAME, freshness_form.stored_text(self.view.flow.freshness_seconds))

    @property
    def dataset_ids(self) -> list[str]:
        """The chosen datasets."""
        if self.sent is None or "datasets" not in self.sent:
            return list(self.view.source.dataset_ids)
        return list(dict.fromkeys([*self.hidden, *texts(self.sent, "dataset")]))

    @property
    def columns(self) -> dict[str, list[str]]:
        """By dataset id, the paths of the chosen columns; without datasets that are delivered with all columns."""
        stored, sent = column_choices.paths_of(self.view.source), self.sent
        shown = [one for one in self.dataset_ids if sent is not None and column_form.PREFIX + one in sent]
        entered = {} if sent is None else column_form.read(sent, shown)
        return entered | {one: stored[one] for one in self.dataset_ids if one in stored and one not in shown}

    @property
    def schedule(self) -> ScheduleForm:
        """The schedule's fields."""
        person, months = self.person, self.person.backend.schedule_rules.default_schedule_months
        if self.sent is None or "every" not in self.sent:
            return schedule_form.of_schedule(self.view.schedule, person.now_ms, person.zone, months)
        return schedule_form.read(schedule_form.sent_fields(self.sent), person.now_ms, person.zone, 0)

    @property
    def params(self) -> Json:
        """The target's params, not validated."""
        if self.sent is None or self.destination is None or not self._has_files():
            return dict(self.view.target.params)
        return export_form.params(self.destination.parameters, self.sent)

    def fields(self, problems: Mapping[str, str]) -> Sequence[Field]:
        """The fields of the place and the files."""
        if self.destination is None:
            return ()
        model = self.destination.parameters
        values: Mapping[str, object] = self.view.target.params
        if self.sent is not None and self._has_files():
            values = forms.sent(model, self.sent, export_form.PREFIX)
        return export_form.fields(model, values, problems)

    def problems(self, rules: ScheduleRules) -> dict[str, str]:
        """What is wrong with the form by itself, by field."""
        found: dict[str, str] = {}
        if not self.name:
            found["name"] = "is required"
        try:
            schedule_form.check(self.schedule, None, self.view.flow.created_at // 1000, rules)
        except InvalidInputError as error:
            found |= schedule_form.problems_of(error)
        if wrong := macros.problem_of(self.template):
            found["template"] = wrong
        if wrong := freshness_form.problem_of(self.fresh_within, self.view.flow.freshness_seconds):
            found[freshness_form.NAME] = wrong
        if not self.dataset_ids:
            found["dataset"] = "Choose at least one dataset."
        if self.hidden and self.changes_source():
            found["dataset"] = "Your roles do not show all datasets of this dataflow, so you may not change the choice."
        return found | self._place_problems()

    def flow_operations(self) -> list[Operation]:
        """The changes of the dataflow itself, without its datasets."""
        flow, found = self.view.flow, []
        if self.name != flow.name:
            found.append(Operation("replace", "/name", self.name))
        if self.description != (flow.description or ""):
            found.append(Operation("replace", "/description", self.description or None))
        if sorted(self.labels) != sorted(self.view.labels):
            found.append(Operation("replace", "/labels", self.labels))
        return (
            found + self._schedule_operations() + freshness_form.operations(self.fresh_within, flow.freshness_seconds)
        )

    def changes_source(self) -> bool:
        """Whether other datasets or other columns were chosen."""
        return self.changes_datasets() or self.columns != column_choices.paths_of(self.view.source)

    def changes_datasets(self) -> bool:
        """Whether other datasets were chosen."""
        return set(self.dataset_ids) != set(self.view.source.dataset_ids)

    def choose_columns(self) -> tuple[dict[str, ColumnChoiceDocument], dict[str, str]]:
        """The choices by dataset id, and the problems by field; stored choices stay as they are."""
        source, chosen = self.view.source, self.columns
        stored = column_choices.paths_of(source)
        kept = {one: source.columns[one] for one in chosen if source.columns and stored.get(one) == chosen[one]}
        changed = {one: paths for one, paths in chosen.items() if one not in kept}
        found, problems = column_form.choose(self.person, self.dataset_ids, source.refs or {}, changed)
        return kept | found, problems

    def target_operations(self) -> list[Operation]:
        """The changes of the place and the files."""
        if self.destination is None:
            return []
        stored, params = self.view.target.params, self.params
        asked = export_form.keys_of(self.destination.parameters)
        defaults = export_form.defaults_of(self.destination.parameters)
        changed = {key: value for key, value in params.items() if stored.get(key) != value}
        # A patch merges: what was emptied must be removed.
        emptied = [key for key in asked if key in stored and key not in params and stored[key] != defaults.get(key)]
        if not self._changes_files(changed, emptied):
            return []
        return [Operation("replace", "/params", params), *(Operation("remove", f"/params/{key}") for key in emptied)]

    def differences(self) -> list[tuple[str, str]]:
        """What is stored, of all that differs from the form: labels and texts."""
        view, stored, schedule = self.view, replace(self, sent=None), self.view.schedule
        found = [
            (label, before)
            for label, before, after in (
                ("Name", stored.name, self.name),
                ("Description", stored.description or "none", self.description or "none"),
                ("Folder template", stored.template or "none", self.template or "none"),
                (freshness_form.LABEL, stored.fresh_within or "none", self.fresh_within or "none"),
                ("Labels", ", ".join(stored.labels) or "none", ", ".join(self.labels) or "none"),
            )
            if before != after
        ]
        if self._schedule_changes():
            found += [("Schedule", schedules.in_words(schedule)), ("Ends", schedules.end_in_words(schedule))]
        if self.changes_datasets():
            found.append(("Datasets", ", ".join(self.names.get(one, one) for one in view.source.dataset_ids[:_MANY])))
        found += [
            (f"Columns of {self.names.get(one, one)}", column_form.in_words(stored.columns.get(one, ())) or "all")
            for one in self.dataset_ids
            if stored.columns.get(one) != self.columns.get(one)
        ]
        before_fields = {one.key: one for one in stored.fields({})}
        for one in self.fields({}):
            before = before_fields[one.key]
            if before.value != one.value and not one.secret:
                found.append((one.label, before.words or "none"))
        return found

    def _text(self, name: str, stored: str) -> str:
        return text(self.sent, name).replace("\r\n", "\n") if self.sent is not None and name in self.sent else stored

    def _has_files(self) -> bool:
        return any(name.startswith(export_form.PREFIX) for name in self.sent or ())

    def _place_problems(self) -> dict[str, str]:
        if self.destination is None:
            return {}
        try:
            schema.parse_target_params(self.destination, self.params)
        except InvalidInputError as error:
            return forms.problems_by_name(error.problems, {"/params/": export_form.PREFIX}, self.fields({}))
        return {}

    def _changes_files(self, changed: Json, emptied: list[str]) -> bool:
        stored = self.view.target.params
        # "" and "/" are the same folder.
        same = [key for key, value in changed.items() if str(value).strip("/") == str(stored.get(key, "-")).strip("/")]
        return bool(emptied or set(changed) - set(same))

    def _schedule_changes(self) -> Json:
        """The changed `scheduleParams` without the template; None for a removed end. Raises `InvalidInputError`."""
        entered, stored = self.schedule, self.view.schedule
        # Only what was changed: the form knows minutes, and a default end must stay one.
        before = schedule_form.of_schedule(stored, self.person.now_ms, zone_of(entered.zone)).params()
        found: Json = {key: value for key, value in entered.params().items() if before.get(key) != value}
        return found | ({"endTime": None} if entered.endless and stored.end_time is not None else {})

    def _schedule_operations(self) -> list[Operation]:
        found = []
        for key, value in self._schedule_changes().items():
            path = f"/scheduleParams/{key}"
            found.append(Operation("remove", path) if value is None else Operation("add", path, value))
        stored = self.view.schedule.folder_name_template
        if self.template and self.template != stored:
            found.append(Operation("add", "/scheduleParams/foldernameTemplate", self.template))
        elif not self.template and stored is not None:
            found.append(Operation("remove", "/scheduleParams/foldernameTemplate"))
        return found
