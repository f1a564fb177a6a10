"""Form fields for the columns that a dataflow delivers of its datasets: one text area for each dataset."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from starlette.datastructures import FormData

from offtake.contract.problems import Problem
from offtake.documents import ColumnChoiceDocument
from offtake.flows import chosen_columns
from offtake.web.form_body import text
from offtake.web.forms import Field
from offtake.web.person import Person

PREFIX: Final = "c-"
_HELP: Final = "One column a line; fields of structs, lists and maps by path. Empty: all columns, also later ones."
_EXAMPLE: Final = "address.city"
_PLACE: Final = "/params/columns/"
_SHOWN: Final = 8


def read(sent: FormData, dataset_ids: Iterable[str]) -> dict[str, list[str]]:
    """By dataset id, the entered paths; without datasets that are delivered with all columns."""
    entered = {one: _lines(text(sent, PREFIX + one)) for one in dataset_ids}
    return {one: paths for one, paths in entered.items() if paths}


def fields(
    datasets: Sequence[tuple[str, str]], chosen: Mapping[str, Sequence[str]], problems: Mapping[str, str]
) -> list[Field]:
    """The fields of these datasets, given as pairs of id and name."""
    return [
        Field(
            name=PREFIX + one,
            key=one,
            label=f"Columns of {name}",
            kind="area",
            help=_HELP,
            example=_EXAMPLE,
            value="\n".join(chosen.get(one, ())),
            problem=problems.get(PREFIX + one, ""),
            changed=one in chosen,
        )
        for one, name in datasets
    ]


def choose(
    person: Person, dataset_ids: Iterable[str], refs: Mapping[str, str], chosen: Mapping[str, Sequence[str]]
) -> tuple[dict[str, ColumnChoiceDocument], dict[str, str]]:
    """The choices by dataset id, and the problems by field. Reads the tables of the datasets in `chosen`."""
    if not chosen:
        return {}, {}
    of_datasets = {one: refs.get(one) for one in dataset_ids}
    backend = person.backend
    try:
        return chosen_columns.resolve(backend.database, backend.lake, person.caller, of_datasets, chosen), {}
    except Problem as problem:
        found: dict[str, list[str]] = {}
        for one in problem.fields:
            name = PREFIX + one.path.removeprefix(_PLACE).partition("/")[0]
            found.setdefault(name, []).append(one.message)
        # Such as a catalog that does not answer: without its tables, no column can be looked up.
        if not found:
            return {}, {PREFIX + one: str(problem) for one in chosen}
        return {}, {name: "; ".join(messages) for name, messages in found.items()}


def in_words(paths: Sequence[str]) -> str:
    """Chosen columns in one line."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _lines(entered: str) -> list[str]:
    return [line.strip() for line in entered.splitlines() if line.strip()]
