"""The state of the export wizard: everything that was entered, as it stands in the page's URL; it has no secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import FormData, ImmutableMultiDict

from offtake.destinations import registry, schema
from offtake.destinations.base import Destination
from offtake.destinations.parameters import TargetParams
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.flows.schedule import Schedule, ScheduleRules
from offtake.web import column_form, forms, macros, schedule_form
from offtake.web.forms import Field
from offtake.web.schedule_form import ScheduleForm

STEPS: Final = ("Destination", "Datasets", "Files", "Schedule", "Review")
REVIEW: Final = len(STEPS)
NEW_ACCOUNT: Final = "new"
"""In `account`: a connection is created with the dataflow, for destinations that need no credentials."""
PREFIX: Final = "t-"
_MOST_DATASETS: Final = 500
_LONGEST: Final = 2000
_DEFAULTS: Final[Mapping[str, str]] = {"datasetFileType": "PARQUET", "compression": "GZIP"}
_LONGEST_NAME: Final = 1000
_NOT_ASKED: Final = ("mode",)
_BELOW: Final = "those of the template."
_ROOTS: Final = {"path": "/", "remotePath": ""}
"""The folders of targets, with the value of an empty field: the contract requires the key."""


@dataclass(frozen=True)
class ExportForm:
    """What was entered so far. `sent`: every field; `dataset_ids`: the chosen datasets in order."""

    sent: FormData
    step: int
    destination: Destination | None
    account_id: str
    dataset_ids: tuple[str, ...]
    schedule: ScheduleForm

    @property
    def name(self) -> str:
        """The dataflow's name."""
        return self._text("name")

    @property
    def key(self) -> str:
        """The key of this submission; empty until the review was shown."""
        return self._text("key")

    @property
    def template(self) -> str:
        """The folder template: the suggested one until the field was shown; empty for the contract's default."""
        return self._text("template") if "template" in self.sent else macros.PREFILLED

    @property
    def params(self) -> Json:
        """The target connection's params, not validated."""
        return params(self.destination.parameters, self.sent) if self.destination else {}

    @property
    def columns(self) -> dict[str, list[str]]:
        """By dataset id, the paths of the chosen columns; without datasets that are delivered with all columns."""
        return column_form.read(self.sent, self.dataset_ids)

    def target(self) -> TargetParams:
        """The validated params; raises `InvalidInputError` with paths below `/params`."""
        assert self.destination is not None  # noqa: S101 - the first step comes first
        return schema.parse_target_params(self.destination, self.params)

    def fields(self, problems: Mapping[str, str]) -> Sequence[Field]:
        """The fields of the place and the files."""
        if self.destination is None:
            return ()
        model = self.destination.parameters
        values: Mapping[str, object] = dict(_DEFAULTS)
        if any(name.startswith(PREFIX) for name in self.sent):
            values = forms.sent(model, self.sent, PREFIX)
        return fields(model, values, problems)

    def query(self, **changes: object) -> str:
        """The query of the page's URL with other values; a list replaces all values of a name, None removes it."""
        kept = [(key, value) for key, value in self.sent.multi_items() if key not in changes and isinstance(value, str)]
        for key, value in changes.items():
            values = value if isinstance(value, list | tuple) else [value]
            kept += [(key, str(one)) for one in values if one is not None]
        return urlencode([(key, value) for key, value in kept if key not in ("csrf", "act", "key")])

    def hidden(self, *shown: str) -> list[tuple[str, str]]:
        """Fields as hidden inputs, except those with these names or prefixes, which the page shows."""
        skipped = ("csrf", "act", "key", "step", "q", *shown)
        prefixes = tuple(one for one in skipped if one.endswith("-"))
        return [
            (key, value)
            for key, value in self.sent.multi_items()
            if isinstance(value, str) and key not in skipped and not key.startswith(prefixes or "\0")
        ]

    def _text(self, name: str) -> str:
        value = self.sent.get(name, "")
        return value.strip()[:_LONGEST] if isinstance(value, str) else ""


def read(sent: ImmutableMultiDict[str, object], now_ms: int, zone: tzinfo, months: int | None) -> ExportForm:
    """The state from the fields of the URL or of the form. `zone`, `months`: as in `schedule_form.read`."""
    form = FormData([(key, value) for key, value in sent.multi_items() if isinstance(value, str)])
    texts = {key: str(form.get(key, "")) for key in ("destination", "account", "step")}
    ids = dict.fromkeys(str(one) for one in form.getlist("dataset") if str(one).isalnum())
    step = texts["step"]
    return ExportForm(
        sent=form,
        step=int(step) if step in {str(number) for number in range(1, REVIEW + 1)} else 1,
        destination=registry.by_connection_spec_id(texts["destination"]),
        account_id=texts["account"],
        dataset_ids=tuple(ids)[:_MOST_DATASETS],
        schedule=schedule_form.read(schedule_form.sent_fields(form), now_ms, zone, months),
    )


def keys_of(model: type[TargetParams]) -> list[str]:
    """The keys to ask for: the place first, then the format."""
    fields = [(name, info.alias or name) for name, info in model.model_fields.items() if name not in _NOT_ASKED]
    return [key for _, key in sorted(fields, key=lambda one: one[0] in TargetParams.model_fields)]


def params(model: type[TargetParams], sent: FormData) -> Json:
    """The params of a target connection as a form sent them, not validated, without defaults.

    An empty folder is the root.
    """
    asked = keys_of(model)
    roots: Json = {key: root for key, root in _ROOTS.items() if key in asked}
    defaults = defaults_of(model)
    parsed = forms.parse(model, sent, PREFIX)
    return roots | {key: value for key, value in parsed.items() if key not in defaults or value != defaults[key]}


def defaults_of(model: type[TargetParams]) -> Mapping[str, object]:
    """The defaults of the optional params, by key."""
    return {info.alias or name: info.default for name, info in model.model_fields.items() if not info.is_required()}


def fields(model: type[TargetParams], values: Mapping[str, object], problems: Mapping[str, str]) -> Sequence[Field]:
    """The fields of the place and the files of a target connection."""
    found = []
    for one in forms.fields(model, PREFIX, values, problems, keys_of(model)):
        if one.key in _ROOTS:
            value = "" if one.value == _ROOTS[one.key] else one.value
            found.append(replace(one, value=value, required=False, help=f"{one.help} Empty: no folder above {_BELOW}"))
        else:
            found.append(one)
    return found


def place_problems(form: ExportForm) -> dict[str, str]:
    """The problems of the step about files, by field."""
    try:
        form.target()
        found: dict[str, str] = {}
    except InvalidInputError as error:
        found = forms.problems_by_name(error.problems, {"/params/": PREFIX}, form.fields({}))
    if wrong := macros.problem_of(form.template):
        found["template"] = wrong
    return found


def schedule_of(form: ExportForm, now_ms: int, rules: ScheduleRules) -> Schedule:
    """The schedule; raises `InvalidInputError` by field name."""
    return schedule_form.check(form.schedule, form.template or None, now_ms // 1000, rules)


def schedule_problems(form: ExportForm, now_ms: int, rules: ScheduleRules) -> dict[str, str]:
    """The problems of the step about the schedule, by field."""
    found: dict[str, str] = {}
    if not form.name:
        found["name"] = "is required"
    elif len(form.name) > _LONGEST_NAME:
        found["name"] = f"must have at most {_LONGEST_NAME} characters"
    try:
        if not schedule_form.next_slots(schedule_of(form, now_ms, rules), now_ms):
            found["start_date"] = "is after the end, so that nothing would run; set a later end"
    except InvalidInputError as error:
        found |= {key: text for key, text in schedule_form.problems_of(error).items() if key != "template"}
    return found
