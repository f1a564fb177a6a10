"""Documents from their sources: validated by the models, each thing only once, references to existing documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from offtake.declarations.files import Source
from offtake.declarations.models import (
    MODELS,
    AlertRuleDocument,
    AnyDocument,
    ColumnDocument,
    DatasetChoice,
    EncryptionDocument,
    FlowDocument,
    Kind,
)
from offtake.declarations.problems import DocumentsError, nearest
from offtake.declarations.yaml_text import Path
from offtake.invalid_values import message_of

_PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "encryption": EncryptionDocument,
    "datasets": DatasetChoice,
    "columns": ColumnDocument,
}
"""The models of objects within documents, by their field."""
_KIND: Final = "kind"
_SCHEDULES: Final = ("every", "daily", "once")


@dataclass(frozen=True)
class Declared:
    """A document and where it is."""

    document: AnyDocument
    source: Source

    @property
    def kind(self) -> Kind:
        """The document's kind."""
        return self.document.kind

    @property
    def name(self) -> str:
        """The document's name."""
        return self.document.name

    def problem(self, path: Path, message: str) -> str:
        """A problem of a field, for users."""
        where = ".".join(map(str, path))
        return f"{self.source.place(path)}: {self.kind} {self.name}: {where + ' ' if where else ''}{message}"


def parse(sources: Sequence[Source]) -> list[Declared]:
    """The documents of the sources. Raises `DocumentsError` with all problems."""
    problems: list[str] = []
    found: list[Declared] = []
    for source in sources:
        try:
            found.append(_document(source))
        except DocumentsError as error:
            problems += error.problems
    problems += _duplicates(found)
    if problems:
        raise DocumentsError(problems)
    return found


def _document(source: Source) -> Declared:
    value = source.value
    if not isinstance(value, dict):
        raise DocumentsError([f"{source.place()}: a document must be an object with kind and name"])
    kind = value.get(_KIND)
    if kind not in MODELS:
        why = "is required" if kind is None else f"{str(kind)[:100]!r} is unknown; {nearest(str(kind), MODELS)}"
        raise DocumentsError([f"{source.place((_KIND,))}: kind {why}; it is one of {', '.join(MODELS)}"])
    model: type[BaseModel] = MODELS[kind]
    try:
        document: Any = model.model_validate(value)
    except ValidationError as error:
        label = f"{kind} {str(value.get('name'))[:200]}" if value.get("name") else kind
        lines = [_line(source, label, model, one) for one in error.errors(include_url=False, include_input=False)]
        raise DocumentsError(lines) from None
    declared = Declared(document, source)
    problems = list(_contradictions(declared))
    if problems:
        raise DocumentsError(problems)
    return declared


def _line(source: Source, label: str, model: type[BaseModel], error: Any) -> str:  # noqa: ANN401 - Pydantic's details
    is_unknown = error["type"] == "extra_forbidden"
    # The last step to an unknown field is its name, whatever that looks like.
    path = tuple(one for one in error["loc"][:-1] if not _is_branch(one))
    path += tuple(one for one in error["loc"][-1:] if is_unknown or not _is_branch(one))
    message = message_of(error)
    if is_unknown:
        fields = _PARTS[str(path[0])] if len(path) > 1 and path[0] in _PARTS else model
        known = [one.alias or name for name, one in fields.model_fields.items()]
        message = f"is unknown; {nearest(str(path[-1]), known)}"
    return f"{source.place(path)}: {label}: {'.'.join(map(str, path))} {message}"


def _is_branch(step: object) -> bool:
    """Whether the step of a location is a branch of a union, which is not a part of the document."""
    text = str(step)
    return text in ("str", "bool", "int", "float") or text[:1].isupper() or "[" in text


def _contradictions(declared: Declared) -> Iterator[str]:
    if isinstance(declared.document, FlowDocument):
        yield from _contradictions_of_flow(declared, declared.document)
    if isinstance(declared.document, AlertRuleDocument):
        lists = (("channels", declared.document.channels), ("topics", declared.document.topics or []))
        for field, given in lists:
            for name in sorted({one for one in given if given.count(one) > 1}):
                yield declared.problem((field,), f"has {name} twice")


def _contradictions_of_flow(declared: Declared, document: FlowDocument) -> Iterator[str]:
    if (document.dataset is None) == (document.datasets is None):
        yield declared.problem((), "needs either dataset or datasets")
    for name in ("columns", "ref"):
        if getattr(document, name) is not None and document.dataset is None:
            yield declared.problem((name,), "is for a flow with dataset; give it for each of the datasets")
    names = [one.name for one in document.choices]
    for name in sorted({one for one in names if names.count(one) > 1}):
        yield declared.problem(("datasets",), f"has the dataset {name} twice")
    given = [one for one in _SCHEDULES if getattr(document, one) not in (None, False)]
    if len(given) != 1:
        yield declared.problem(
            tuple(given[1:2]), f"needs one of {', '.join(_SCHEDULES)}; it has {' and '.join(given) or 'none'}"
        )
    if document.full and document.once:
        yield declared.problem(("full",), "is for daily exports; a single export always is in full")


def _duplicates(found: Iterable[Declared]) -> Iterator[str]:
    by_name: dict[tuple[str, str], Declared] = {}
    by_id: dict[tuple[str, str], Declared] = {}
    for one in found:
        identity = one.document.id
        first = by_id.setdefault((one.kind, identity), one) if identity else one
        if first is not one:
            yield one.problem(("id",), f"is that of another document already: {first.source.place()}")
            continue
        named = by_name.setdefault((one.kind, one.name), one)
        if named is not one and not (identity and named.document.id):
            yield one.problem(
                ("name",), f"is that of another document already: {named.source.place()}; one document for each thing"
            )
