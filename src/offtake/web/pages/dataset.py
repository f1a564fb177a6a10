"""One dataset: its schema, rows, batches, snapshots, the flows that export it, its labels; and its deletion."""

import json
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.access import client_names
from offtake.catalog import batch_names, dataset_details, dataset_documents, dataset_labels, dataset_tables, datasets
from offtake.catalog.dataset_details import Overview
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.destinations import registry
from offtake.errors import OfftakeError
from offtake.flows import dataset_exports
from offtake.flows.dataset_exports import Export
from offtake.web import batch_states
from offtake.web.form_body import Form, require, text
from offtake.web.person import Person, PersonOf
from offtake.web.problem_fields import problems_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.typed_names import name_to_type, wrong_name

router = APIRouter(route_class=PageRoute)

_MOST: Final = 50
_MOST_COLUMNS: Final = 500
_PREVIEW_ROWS: Final = 25
_PREVIEW_COLUMNS: Final = 40
_LONGEST_CELL: Final = 200
_MOST_NAMED: Final = 10
_DESTINATIONS: Final = {one.connection_spec_id: one.name for one in registry.DESTINATIONS}


@router.get("/ui/{sandbox}/datasets/{dataset_id}")
def schema(request: Request, person: PersonOf, dataset_id: str) -> Response:
    """The columns as a tree."""
    about = _overview(person, dataset_id)
    try:
        found = dataset_details.columns(person.backend.lake, person.caller, about.row, _MOST_COLUMNS + 1)
        problem = ""
    except OfftakeError as error:
        found, problem = [], str(error)
    more = len(found) > _MOST_COLUMNS
    return _page(request, person, about, "schema", columns=found[:_MOST_COLUMNS], more=more, problem=problem)


@router.get("/ui/{sandbox}/datasets/{dataset_id}/preview")
def preview(request: Request, person: PersonOf, dataset_id: str) -> Response:
    """The first rows. `from` in the URL: the first column that is shown."""
    url, backend, caller = ListUrl(request), person.backend, person.caller
    first = url.number("from")
    about = _overview(person, dataset_id)
    try:
        tops = dataset_details.columns(backend.lake, caller, about.row, _MOST_COLUMNS * 20)
        lines = dataset_documents.preview_lines(backend.database, backend.lake, caller, dataset_id, _PREVIEW_ROWS)
        problem = ""
    except OfftakeError as error:
        tops, lines, problem = [], [], str(error)
    names = [one.name for one in tops if not one.depth]
    shown = names[first : first + _PREVIEW_COLUMNS]
    read = (json.loads(line, parse_float=_Digits, parse_int=_Digits) for line in lines)
    rows = [[cell(row.get(name)) for name in shown] for row in read]
    return _page(
        request,
        person,
        about,
        "preview",
        columns=_headings(shown, rows),
        names=shown,
        rows=rows,
        first=first,
        all_columns=len(names),
        pages=url.pages(names[first:], _PREVIEW_COLUMNS),
        problem=problem,
    )


@router.get("/ui/{sandbox}/datasets/{dataset_id}/batches")
def batches(request: Request, person: PersonOf, dataset_id: str) -> Response:
    """The imports, newest first."""
    url, most = ListUrl(request), _MOST
    about = _overview(person, dataset_id)
    with person.backend.database.reading() as session:
        found = dataset_details.batches(session, person.caller, dataset_id, url.number("from"), most + 1)
        names = batch_names.names_of(session, person.caller, [row.id for row in found])
    lines = [(row, batch_states.look_of(row), names[row.id].files if row.id in names else "") for row in found[:most]]
    polls = any(batch_states.is_busy(row) for row, _, _ in lines)
    return _page(request, person, about, "batches", lines=lines, pages=url.pages(found, most), polls=polls)


@router.get("/ui/{sandbox}/datasets/{dataset_id}/snapshots")
def snapshots(request: Request, person: PersonOf, dataset_id: str) -> Response:
    """The history of the table, newest first."""
    url, most = ListUrl(request), _MOST
    about = _overview(person, dataset_id)
    try:
        found = dataset_details.snapshots(person.backend.lake, person.caller, about.row, url.number("from"), most + 1)
        problem = ""
    except OfftakeError as error:
        found, problem = [], str(error)
    pages = url.pages(found, most)
    return _page(request, person, about, "snapshots", lines=found[:most], pages=pages, problem=problem)


@router.get("/ui/{sandbox}/datasets/{dataset_id}/exports")
def exports(request: Request, person: PersonOf, dataset_id: str) -> Response:
    """The flows that export the dataset."""
    url, most = ListUrl(request), _MOST
    about = _overview(person, dataset_id)
    with person.backend.database.reading() as session:
        found = dataset_exports.of_dataset(
            session, person.caller, dataset_id, url.number("from"), most + 1, person.now_ms
        )
    positions = [one.snapshot_id for one in found if one.snapshot_id is not None]
    try:
        times = dataset_details.commit_times(person.backend.lake, person.caller, about.row, positions)
        current = dataset_details.snapshots(person.backend.lake, person.caller, about.row, 0, 1)
    except OfftakeError:
        times, current = {}, []
    return _page(
        request,
        person,
        about,
        "exports",
        lines=found[:most],
        times=times,
        current=current[0].snapshot_id if current else None,
        destinations=_DESTINATIONS,
        pages=url.pages(found, most),
    )


@router.get("/ui/{sandbox}/datasets/{dataset_id}/settings")
def settings(request: Request, person: PersonOf, dataset_id: str) -> Response:
    """Its labels, and what else can be changed."""
    about = _overview(person, dataset_id)
    return _settings(request, person, about, is_renamed=ListUrl(request).text("renamed") == "1")


@router.post("/ui/{sandbox}/datasets/{dataset_id}/labels")
def set_labels(request: Request, person: PersonOf, dataset_id: str, form: Form) -> Response:
    """Replace the labels, if they are still those that the form was made from."""
    sent = [one.strip() for one in text(form, "labels").replace(",", "\n").splitlines() if one.strip()]
    backend = person.backend
    try:
        with backend.database.writing() as session:
            now_ms = backend.clock.now_ms()
            etag = text(form, "etag")
            dataset_labels.replace(session, person.caller, dataset_id, {"labels": sent}, etag, now_ms)
    except Problem as error:
        is_stale = error.code == problems.OTHER_VERSION
        is_refused = error.code == problems.FORBIDDEN and person.may(MANAGE_DATASETS)
        shown = str(error) if is_refused else ""
        if not is_refused and not is_stale:
            by_field, _ = problems_of(error, {"labels": "Labels"})
            shown = by_field.get("labels", str(error))
        about = _overview(person, dataset_id)
        status = 409 if is_stale else 422
        return _settings(request, person, about, status, sent=sent, is_stale=is_stale, problem=shown)
    with backend.database.reading() as session:
        is_visible = datasets.exists(session, person.caller, dataset_id)
    # Labels that the person lacks hide the dataset from them.
    return RedirectResponse(person.url(f"datasets/{dataset_id}/settings" if is_visible else "datasets"), 303)


@router.post("/ui/{sandbox}/datasets/{dataset_id}/name")
def rename(request: Request, person: PersonOf, dataset_id: str, form: Form) -> Response:
    """Rename the dataset, if it is still of the version that the form was made from."""
    name, backend = text(form, "name"), person.backend
    try:
        with backend.database.writing() as session:
            row = datasets.get(session, person.caller, dataset_id, lock=True)
            datasets.rename(session, person.caller, row, name, text(form, "version"), backend.clock.now_ms())
    except Problem as error:
        is_stale = error.code == problems.OTHER_VERSION
        by_field, _ = problems_of(error, {"name": "Name"})
        about = _overview(person, dataset_id)
        problem = "" if is_stale else by_field.get("name", str(error))
        shown = {"sent_name": name, "is_renamed_meanwhile": is_stale, "name_problem": problem}
        return _settings(request, person, about, 409 if is_stale else 422, **shown)
    return RedirectResponse(person.url(f"datasets/{dataset_id}/settings") + "?renamed=1", 303)


@router.post("/ui/{sandbox}/datasets/{dataset_id}/evolves")
def set_evolves(person: PersonOf, dataset_id: str, form: Form) -> Response:
    """Set whether batches may add columns."""
    backend = person.backend
    with backend.database.writing() as session:
        row = datasets.get(session, person.caller, dataset_id, lock=True)
        require(form, "evolves")
        evolves = text(form, "evolves") == "true"
        change = {"extensions": {"offtake": {"evolves": evolves}}}
        datasets.merge(session, person.caller, row, change, backend.clock.now_ms())
    return RedirectResponse(person.url(f"datasets/{dataset_id}/settings"), 303)


@router.post("/ui/{sandbox}/datasets/{dataset_id}/delete")
def delete(request: Request, person: PersonOf, dataset_id: str, form: Form) -> Response:
    """Delete the dataset with its rows; with `force`, even if flows export it."""
    backend, caller = person.backend, person.caller
    caller.require(MANAGE_DATASETS)
    about = _overview(person, dataset_id)
    problem = wrong_name(form, about.row.name, about.row.id)
    if problem:
        return _settings(request, person, about, 422, wrong_typed=problem, sent_typed=text(form, "typed"))
    try:
        with backend.database.writing() as session:
            force = text(form, "force") == "true"
            deleted = datasets.delete(session, caller, dataset_id, backend.clock.now_ms(), force=force)
    except Problem as error:
        if error.code != problems.CONFLICT:
            raise
        return _settings(request, person, about, 409, refused=str(error))
    dataset_tables.remove(backend.lake, backend.uploads, deleted)
    return RedirectResponse(person.url("datasets") + "?deleted=1", 303)


class _Digits(str):
    """A number, with all its digits."""

    __slots__ = ()


def cell(value: Any) -> tuple[str, str]:  # noqa: ANN401 - JSON
    """A value as text of limited length, and its kind: `number`, `null`, `nested` or empty for text."""
    if value is None:
        return "null", "null"
    if isinstance(value, _Digits):
        return value[:_LONGEST_CELL], "number"
    if isinstance(value, str):
        shown, kind = value, ""
    elif isinstance(value, bool):
        shown, kind = str(value).lower(), ""
    else:
        shown, kind = _nested(value), "nested"
    return (shown if len(shown) <= _LONGEST_CELL else f"{shown[:_LONGEST_CELL]}…"), kind


def _headings(names: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> list[dict[str, str]]:
    """The columns of the table component: those with numbers only are aligned as such."""
    kinds = [{row[index][1] for row in rows} for index in range(len(names))]
    are_numbers = ("number" in kind and kind <= {"number", "null"} for kind in kinds)
    return [{"label": name, "kind": "number" if one else ""} for name, one in zip(names, are_numbers, strict=True)]


def _nested(value: Any) -> str:  # noqa: ANN401 - JSON
    """A list or an object as JSON, with all digits of its numbers."""
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{json.dumps(name, ensure_ascii=False)}: {_nested(one)}' for name, one in value.items())}}}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(_nested, value))}]"
    return str(value) if isinstance(value, _Digits) else json.dumps(value, ensure_ascii=False)


def _overview(person: Person, dataset_id: str) -> Overview:
    return dataset_details.overview(person.backend.database, person.backend.lake, person.caller, dataset_id)


def _exporting(person: Person, dataset_id: str) -> Sequence[Export]:
    """The first of the flows that the deletion would break, if the person may see them."""
    if not person.may(VIEW_DESTINATIONS):
        return ()
    with person.backend.database.reading() as session:
        return dataset_exports.of_dataset(session, person.caller, dataset_id, 0, _MOST_NAMED + 1, person.now_ms)


def _settings(request: Request, person: Person, about: Overview, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template's values
    shared = {"sent": None, "is_stale": False, "problem": "", "refused": "", "sent_typed": "", "wrong_typed": ""}
    shared |= {"sent_name": None, "is_renamed_meanwhile": False, "name_problem": "", "is_renamed": False} | values
    row = about.row
    with person.backend.database.reading() as session:
        names = client_names.names_of(session, [row.created_client, row.updated_client])
    flows = _exporting(person, about.row.id)
    return _page(
        request,
        person,
        about,
        "settings",
        status,
        flows=flows[:_MOST_NAMED],
        more_flows=len(flows) > _MOST_NAMED,
        typed=name_to_type(about.row.name, about.row.id),
        created_by=names.get(row.created_client, row.created_by),
        updated_by=names.get(row.updated_client, row.updated_by),
        **shared,
    )


def _page(
    request: Request,
    person: Person,
    about: Overview,
    tab: str,
    status: int = 200,
    **values: Any,  # noqa: ANN401 - a template's values
) -> Response:
    return page(
        request,
        person,
        f"dataset-{tab}.html",
        status,
        about=about,
        dataset=about.row,
        tab=tab,
        may_manage=person.may(MANAGE_DATASETS),
        may_import=person.may(MANAGE_DATASETS) and about.registered is None,
        shows_flows=person.may(VIEW_DESTINATIONS),
        **values,
    )
