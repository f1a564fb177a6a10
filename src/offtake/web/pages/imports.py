"""Importing files: upload, review with the dry run's answer, then commit or discard."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from offtake.catalog import (
    batch_documents,
    batch_names,
    dataset_details,
    dataset_lists,
    datasets,
    import_drafts,
    regional_columns,
)
from offtake.catalog.batches import InputFormat
from offtake.catalog.import_drafts import Checked, Draft, SameContent
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.lake.parsers import ParsersBusyError
from offtake.store.batches import LOADING
from offtake.web import batch_actions, import_columns, import_options, uploads
from offtake.web.form_body import Form, text
from offtake.web.import_options import LABELS, ImportOptions
from offtake.web.local_paths import local_path
from offtake.web.person import Person, PersonOf
from offtake.web.problem_fields import problems_of
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_SUGGESTIONS: Final = 100
_MOST_DRAFTS: Final = 5
_ROWS: Final = 100
_CHECKED_AT_ONCE: Final = 8 * 1024 * 1024
_CHECKED_WHILE_TYPING: Final = 1024 * 1024
_WESTERN: Final = "cp1252"
Next = Annotated[str, Query(alias="next", max_length=20_000)]


@router.get("/ui/{sandbox}/datasets/import")
def form(
    request: Request, person: PersonOf, dataset: Annotated[str, Query(max_length=255)] = "", following: Next = ""
) -> Response:
    """The form to upload files. `dataset`: the id of the one that they are for; `next`: where the import leads."""
    return _form(request, person, dataset, local_path(following))


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
        return await run_in_threadpool(_form, request, person, receiver.name, receiver.next, error)
    name = receiver.name or uploads.default_name(receiver.first_file)
    query = ({} if batch.dataset_id else {"name": name}) | ({"next": receiver.next} if receiver.next else {})
    target = person.url(f"datasets/import/{batch.id}") + (f"?{urlencode(query)}" if query else "")
    return _json({"next": target}) if by_script else RedirectResponse(target, 303)


@router.get("/ui/{sandbox}/datasets/import/{batch_id}")
def review(request: Request, person: PersonOf, batch_id: str) -> Response:
    """What was uploaded, and what its import would do. The options are the state of the URL."""
    options = import_options.read(request.query_params)
    committed = _committed(person, batch_id, options)
    if committed is not None:
        return committed
    return _review(request, person, batch_id, options, check=request.query_params.get("check") == "true")


@router.post("/ui/{sandbox}/datasets/import/{batch_id}/commit")
def commit(request: Request, person: PersonOf, batch_id: str, form: Form) -> Response:
    """Import the files: a server's ingestor does, and the batch's page shows how far it is.

    The options are those of the form. The URL has the options that the review was made with: if the form's give another
    result, the review is shown again, and nothing is imported.
    """
    options, seen, backend = import_options.read(form), import_options.read(request.query_params), person.backend
    committed = _committed(person, batch_id, options)
    if committed is not None:
        return committed
    try:
        with backend.database.reading() as session:
            draft = import_drafts.find(session, person.caller, batch_id)
        shape = import_drafts.read_options(backend.uploads, draft, options.document())
        if not _is_as_seen(person, draft, shape, options, seen):
            return _review(request, person, batch_id, options, 422, is_changed=True)
        with backend.database.writing() as session:
            batch = import_drafts.commit(
                session,
                person.caller,
                batch_id,
                options.values["name"],
                shape,
                backend.clock.now_ms(),
                evolve=options.evolve,
            )
            dataset_id = batch.dataset_id
    except Problem as error:
        if error.code not in (problems.BAD_VALUE, problems.MISSING_FIELD, problems.CONFLICT):
            raise
        return _review(request, person, batch_id, options, 422, error=error)
    return RedirectResponse(_batch_url(person, dataset_id, batch_id, options), 303)


@router.post("/ui/{sandbox}/datasets/import/{batch_id}/new-dataset")
def detach(person: PersonOf, batch_id: str, form: Form) -> Response:
    """Import the files into a new dataset instead of the existing one."""
    backend = person.backend
    with backend.database.writing() as session:
        name = import_drafts.detach(session, person.caller, batch_id, backend.clock.now_ms())
    query = import_options.read(form).query(name=name)
    return RedirectResponse(f"{person.url(f'datasets/import/{batch_id}')}?{query}", 303)


@router.post("/ui/{sandbox}/datasets/import/{batch_id}/discard")
def discard(person: PersonOf, batch_id: str, form: Form) -> Response:
    """Delete the uploaded files; nothing was imported."""
    batch_actions.act(person, batch_id, "ABORT")
    following = local_path(text(form, "next"))
    query = {"discarded": "1"} | ({"next": following} if following else {})
    return RedirectResponse(f"{person.url('datasets/import')}?{urlencode(query)}", 303)


def _committed(person: Person, batch_id: str, options: ImportOptions) -> Response | None:
    """Leads to the page of a batch that was committed before, as by a form that was sent twice."""
    with person.backend.database.reading() as session:
        row = batch_documents.find(session, person.caller, batch_id)
    if row.status == LOADING or not row.dataset_id:
        return None
    return RedirectResponse(_batch_url(person, row.dataset_id, batch_id, options), 303)


def _batch_url(person: Person, dataset_id: str, batch_id: str, options: ImportOptions) -> str:
    return person.url(f"datasets/{dataset_id}/batches/{batch_id}") + _next_query(options.next)


def _next_query(following: str) -> str:
    return f"?{urlencode({'next': following})}" if following else ""


def _is_as_seen(person: Person, draft: Draft, shape: InputFormat, options: ImportOptions, seen: ImportOptions) -> bool:
    """Whether the import gives what the review showed. Raises 1452 when it would be refused."""
    uploads = person.backend.uploads
    try:
        before = import_drafts.read_options(uploads, draft, seen.document())
        if (shape, options.evolve) == (before, seen.evolve):
            return True
        if draft.size > _CHECKED_AT_ONCE:
            return False
        shown = _result(person, draft, before, evolve=seen.evolve)
    except Problem:
        shown = None
    return shown == _result(person, draft, shape, evolve=options.evolve)


def _result(person: Person, draft: Draft, shape: InputFormat, *, evolve: bool) -> tuple[Json, Json, SameContent | None]:
    """The first rows, the dry run without its notes, which name the options, and the message about a duplicate."""
    backend = person.backend
    preview = import_drafts.first_rows(backend.parsers, backend.uploads, draft, shape, _ROWS)
    checked = _check(person, draft, shape, evolve=evolve)
    return preview, checked.effect | {"notes": []}, checked.same


def _form(
    request: Request, person: Person, dataset: str, following: str, error: OfftakeError | None = None
) -> Response:
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
        next=following,
        is_discarded=error is None and request.query_params.get("discarded") == "1",
        problems=by_field,
        problem="" if error is None or by_field else str(error),
    )


def _review(
    request: Request,
    person: Person,
    batch_id: str,
    options: ImportOptions,
    status: int = 200,
    *,
    check: bool = False,
    is_changed: bool = False,
    error: Problem | None = None,
) -> Response:
    backend = person.backend
    with backend.database.reading() as session:
        draft = import_drafts.find(session, person.caller, batch_id)
    rows = 0
    if draft.dataset is not None:
        rows = dataset_details.rows(backend.database, backend.lake, person.caller, draft.dataset)
    by_field: dict[str, str] = {}
    refusal = "" if error is None else _sentence(error)
    shape = preview = checked = None
    types: dict[str, str] = {}
    is_small = draft.size <= _CHECKED_AT_ONCE
    try:
        types = options.types()
        shape = import_drafts.read_options(backend.uploads, draft, options.document())
        preview = import_drafts.first_rows(backend.parsers, backend.uploads, draft, shape, _ROWS)
        if is_small or check:
            checked = _check(person, draft, shape, evolve=options.evolve)
    except (Problem, ParsersBusyError) as found:
        refusal = refusal or _sentence(found)
        by_field = problems_of(found, LABELS)[0] if isinstance(found, Problem) else {}
    if error is not None:
        by_field = problems_of(error, LABELS)[0] | by_field
    columns = import_columns.lines(draft, shape, checked, preview, types) if preview and shape else []
    text_types = import_columns.other_types(types, columns) if shape else options.values["columnTypes"]
    values = {**options.values, "columnTypes": text_types}
    here = person.url(f"datasets/import/{batch_id}")
    return page(
        request,
        person,
        "import-review.html",
        status,
        draft=draft,
        dataset_rows=rows,
        values={**values, "format": options.values["format"] or import_options.format_name(shape)},
        options=options,
        shape=shape,
        preview=import_columns.first_rows(preview, checked) if preview else None,
        columns=columns,
        all_columns=len(checked.effect["columns"] if checked else preview["columns"]) if preview else 0,
        checked=checked,
        same_files=_files_of(person, checked),
        notes=_notes(draft, preview, checked, types),
        refusal=refusal,
        is_changed=is_changed,
        problems=by_field,
        check_url=f"{here}?{options.query()}&check=true",
        latin_url=_latin_url(here, options, shape) if "charset" in by_field else "",
        may_detach=draft.dataset is not None and not import_drafts.has_format(draft),
        is_live=draft.size <= _CHECKED_WHILE_TYPING,
    )


def _files_of(person: Person, checked: Checked | None) -> str:
    """The files of the batch with the same content, in words; empty without one."""
    if checked is None or checked.same is None:
        return ""
    with person.backend.database.reading() as session:
        names = batch_names.names_of(session, person.caller, [checked.same.batch_id])
    found = names.get(checked.same.batch_id)
    return (found.files if found is not None else "") or "The same content"


def _notes(draft: Draft, preview: Json | None, checked: Checked | None, types: Mapping[str, str]) -> list[str]:
    """The notes of the dry run, and those about numbers and dates that become text."""
    if preview is None or checked is None:
        return []
    stored = set() if draft.dataset is None else {one["name"] for one in checked.effect["columns"]}
    skipped = {*types, *(stored - set(checked.effect["columnsAdded"]))}
    return [*checked.effect["notes"], *regional_columns.notes(preview, checked.effect, skipped)]


def _latin_url(here: str, options: ImportOptions, shape: InputFormat | None) -> str:
    """The review with the encoding that Excel uses in Western Europe; empty if it would be no change."""
    is_utf8 = options.values["charset"].lower().replace("-", "") in ("", "utf8")
    return f"{here}?{options.query(charset=_WESTERN)}" if is_utf8 and shape and shape.format == "csv" else ""


def _check(person: Person, draft: Draft, shape: InputFormat, *, evolve: bool) -> Checked:
    backend = person.backend
    return import_drafts.check(
        backend.database, backend.parsers, backend.uploads, person.caller, draft, shape, evolve=evolve
    )


def _sentence(error: OfftakeError) -> str:
    """The error's message, with the labels of its fields instead of their paths."""
    if isinstance(error, Problem) and error.fields:
        labels = [LABELS.get(one.path.rpartition("/")[2], "") for one in error.fields]
        return "; ".join(
            f"{label}: {one.message}".removeprefix(": ") for label, one in zip(labels, error.fields, strict=True)
        )
    return str(error)


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document), media_type="application/json")
