"""Importing files: upload, review with the dry run's answer, then commit or discard."""

import json
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from offtake.catalog import batch_documents, dataset_lists, datasets, import_drafts
from offtake.catalog.batches import InputFormat
from offtake.catalog.import_drafts import Draft
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.lake.parsers import ParsersBusyError
from offtake.store.batches import LOADING
from offtake.web import batch_actions, uploads
from offtake.web.form_body import Form, text
from offtake.web.person import Person, PersonOf
from offtake.web.problem_fields import problems_of
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_SUGGESTIONS: Final = 100
_MOST_DRAFTS: Final = 5
_ROWS: Final = 10
_PREVIEW_COLUMNS: Final = 40
_CHECKED_AT_ONCE: Final = 8 * 1024 * 1024
_CHECKED_WHILE_TYPING: Final = 1024 * 1024
_LABELS: Final = {
    "name": "Name of the new dataset",
    "format": "Format",
    "delimiter": "Delimiter",
    "quote": "Quote character",
    "escape": "Escape character",
    "nullMarker": "Text that means null",
    "charset": "Encoding",
    "header": "First line",
    "columnTypes": "Types of columns",
    "nanoseconds": "Times finer than microseconds",
}
_OPTIONS: Final = tuple(name for name in _LABELS if name != "name")
_JSON_DOCUMENT: Final = "json-document"


@router.get("/ui/{sandbox}/datasets/import")
def form(request: Request, person: PersonOf, dataset: Annotated[str, Query(max_length=255)] = "") -> Response:
    """The form to upload files. `dataset`: the id of the one that they are for."""
    return _form(request, person, dataset)


@router.post("/ui/{sandbox}/datasets/import")
async def upload(request: Request, person: PersonOf) -> Response:
    """Store the files of a form as they arrive; leads to their review. For the script: JSON with the next URL."""
    by_script = "x-requested-with" in request.headers
    receiver = uploads.Receiver(request, person)
    try:
        batch = await receiver.receive()
    except (Problem, OfftakeError) as error:
        if by_script:
            return _json({"problem": _sentence(error)})
        if isinstance(error, Problem) and error.code in (problems.FORBIDDEN, problems.NOT_FOUND):
            raise
        return await run_in_threadpool(_form, request, person, receiver.name, error)
    name = receiver.name or uploads.default_name(receiver.first_file)
    target = person.url(f"datasets/import/{batch.id}") + ("" if batch.dataset_id else f"?{urlencode({'name': name})}")
    return _json({"next": target}) if by_script else RedirectResponse(target, 303)


class _Options:
    """The options in the URL, as they were sent."""

    def __init__(self, request: Request) -> None:
        query = request.query_params
        self.sent = {name: query.get(name, "")[:10_000] for name in _LABELS}
        self.evolve = query.get("evolve") == "true"
        self.check = query.get("check") == "true"


@router.get("/ui/{sandbox}/datasets/import/{batch_id}")
def review(
    request: Request, person: PersonOf, batch_id: str, options: Annotated[_Options, Depends(_Options)]
) -> Response:
    """What was uploaded, and what its import would do. The options are the state of the URL."""
    committed = _committed(person, batch_id)
    if committed is not None:
        return committed
    return _review(request, person, batch_id, options.sent, evolve=options.evolve, check=options.check)


@router.post("/ui/{sandbox}/datasets/import/{batch_id}/commit")
def commit(request: Request, person: PersonOf, batch_id: str, form: Form) -> Response:
    """Import the files: a server's ingestor does, and the batch's page shows how far it is."""
    sent = {name: text(form, name) for name in _LABELS}
    evolve, backend = text(form, "evolve") == "true", person.backend
    committed = _committed(person, batch_id)
    if committed is not None:
        return committed
    try:
        with backend.database.writing() as session:
            draft = import_drafts.find(session, person.caller, batch_id)
            shape = import_drafts.read_options(backend.uploads, draft, _document(sent))
            batch = import_drafts.commit(
                session, person.caller, batch_id, sent["name"], shape, backend.clock.now_ms(), evolve=evolve
            )
            dataset_id = batch.dataset_id
    except Problem as error:
        if error.code not in (problems.BAD_VALUE, problems.MISSING_FIELD, problems.CONFLICT):
            raise
        return _review(request, person, batch_id, sent, 422, evolve=evolve, error=error)
    return RedirectResponse(person.url(f"datasets/{dataset_id}/batches/{batch_id}"), 303)


@router.post("/ui/{sandbox}/datasets/import/{batch_id}/discard")
def discard(person: PersonOf, batch_id: str, _form: Form) -> Response:
    """Delete the uploaded files; nothing was imported."""
    batch_actions.act(person, batch_id, "ABORT")
    return RedirectResponse(person.url("datasets/import"), 303)


def _committed(person: Person, batch_id: str) -> Response | None:
    """Leads to the page of a batch that was committed before, as by a form that was sent twice."""
    with person.backend.database.reading() as session:
        row = batch_documents.find(session, person.caller, batch_id)
    if row.status == LOADING or not row.dataset_id:
        return None
    return RedirectResponse(person.url(f"datasets/{row.dataset_id}/batches/{batch_id}"), 303)


def _form(request: Request, person: Person, dataset: str, error: OfftakeError | None = None) -> Response:
    person.caller.require(MANAGE_DATASETS)
    with person.backend.database.reading() as session:
        names = dataset_lists.recent_names(session, person.caller, _SUGGESTIONS)
        drafts = import_drafts.unfinished(session, person.caller, _MOST_DRAFTS)
        known = datasets.exists(session, person.caller, dataset) if dataset else False
        row = datasets.get(session, person.caller, dataset) if known else None
    by_field: dict[str, str] = {}
    if isinstance(error, Problem):
        by_field, _ = problems_of(error, {"name": "Dataset", "file": "Files"})
    return page(
        request,
        person,
        "import.html",
        200 if error is None else 422,
        suggestions=names,
        drafts=drafts,
        dataset=row,
        name=dataset,
        problems=by_field,
        problem="" if error is None or by_field else str(error),
    )


def _review(
    request: Request,
    person: Person,
    batch_id: str,
    sent: Json,
    status: int = 200,
    *,
    evolve: bool,
    check: bool = False,
    error: Problem | None = None,
) -> Response:
    backend = person.backend
    with backend.database.reading() as session:
        draft = import_drafts.find(session, person.caller, batch_id)
    by_field: dict[str, str] = {}
    refusal = "" if error is None else _sentence(error)
    shape = preview = checked = None
    is_small = draft.size <= _CHECKED_AT_ONCE
    try:
        shape = import_drafts.read_options(backend.uploads, draft, _document(sent))
        preview = import_drafts.first_rows(backend.parsers, backend.uploads, draft, shape, _ROWS)
        if is_small or check:
            checked = _check(person, draft, shape, evolve=evolve)
    except (Problem, ParsersBusyError) as found:
        refusal = refusal or _sentence(found)
        by_field = problems_of(found, _LABELS)[0] if isinstance(found, Problem) else {}
    if error is not None:
        by_field = problems_of(error, _LABELS)[0] | by_field
    values = sent | {"format": sent.get("format") or _format_name(shape)}
    state = {**{name: value for name, value in sent.items() if value}, **({"evolve": "true"} if evolve else {})}
    return page(
        request,
        person,
        "import-review.html",
        status,
        draft=draft,
        values=values,
        state=state,
        evolve=evolve,
        shape=shape,
        preview=_cut(preview) if preview else None,
        checked=checked,
        refusal=refusal,
        problems=by_field,
        check_url=f"?{urlencode(state | {'check': 'true'})}",
        is_live=draft.size <= _CHECKED_WHILE_TYPING,
    )


def _check(person: Person, draft: Draft, shape: InputFormat, *, evolve: bool) -> import_drafts.Checked:
    backend = person.backend
    return import_drafts.check(
        backend.database, backend.parsers, backend.uploads, person.caller, draft, shape, evolve=evolve
    )


def _document(sent: Json) -> Json:
    """The options as an input format; without `format` if it is to be found out. Raises 1452 for wrong types."""
    document: Json = {name: sent[name] for name in _OPTIONS if sent.get(name) and name not in {"format", "columnTypes"}}
    if sent.get("format"):
        document["format"] = "json" if sent["format"] == _JSON_DOCUMENT else sent["format"]
        document["isMultiLineJson"] = sent["format"] == _JSON_DOCUMENT
    if "header" in document:
        document["header"] = document["header"] != "data"
    if sent.get("columnTypes"):
        document["columnTypes"] = import_drafts.parse_types(sent["columnTypes"])
    return document


def _format_name(shape: InputFormat | None) -> str:
    if shape is None:
        return ""
    return _JSON_DOCUMENT if shape.is_multi_line_json else shape.format


def _cut(preview: Json) -> Json:
    """The first columns only: rows as lists, in the order of the columns."""
    columns = preview["columns"][:_PREVIEW_COLUMNS]
    rows = [[row.get(one["cid"], "")[:200] for one in columns] for row in preview["rows"]]
    return {"names": [one["name"] for one in columns], "rows": rows, "all": len(preview["columns"])}


def _sentence(error: OfftakeError) -> str:
    """The error's message, with the labels of its fields instead of their paths."""
    if isinstance(error, Problem) and error.fields:
        labels = [_LABELS.get(one.path.rpartition("/")[2], "") for one in error.fields]
        return "; ".join(
            f"{label}: {one.message}".removeprefix(": ") for label, one in zip(labels, error.fields, strict=True)
        )
    return str(error)


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document), media_type="application/json")
