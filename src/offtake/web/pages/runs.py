"""Runs: a run as a receipt, with its actions, and a list of runs."""

import json
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS
from offtake.contract.problems import Problem
from offtake.destinations import data_landing_zone, registry
from offtake.documents import Json
from offtake.flows import pending_rows, repetitions, run_documents, run_manifests, run_views, runs, undelivered
from offtake.store import run_states
from offtake.web import live
from offtake.web.form_body import Form
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.verifications import Verifications

router = APIRouter(route_class=PageRoute)

_SPECS: Final = {one.connection_spec_id: one.name for one in registry.DESTINATIONS}
_ZONE: Final = data_landing_zone.DESTINATION.connection_spec_id
FileNumber = Annotated[int, Path(ge=0, lt=2**31)]
STATUSES: Final = ("success", "delivered", "empty", "failed", "live", "quota")


@router.get("/ui/{sandbox}/runs")
def browse(request: Request, person: PersonOf) -> Response:
    """All runs of the sandbox, newest first, also those of deleted dataflows."""
    url = ListUrl(request)
    first, status = url.number("from"), url.choice("status", STATUSES)
    with person.backend.database.reading() as session:
        found, more = run_views.list_runs(session, person.caller, None, status, first)
    return page(
        request,
        person,
        "runs.html",
        runs=found,
        url=url,
        chosen=status,
        next_url=url.with_(**{"from": first + run_views.PAGE}) if more else "",
        first_url=url.with_() if first else "",
    )


@router.get("/ui/{sandbox}/runs/{run_id}")
def receipt(request: Request, person: PersonOf, run_id: str) -> Response:
    """A run: what, where, when, how much, and the proof."""
    return _receipt(request, person, run_id)


def _receipt(request: Request, person: Person, run_id: str, status: int = 200, refused: str = "") -> Response:
    url = ListUrl(request)
    verifications: Verifications = request.app.state.verifications
    first = url.number("from")
    with person.backend.database.reading() as session:
        view = run_views.find_run(session, person.caller, run_id)
        files, more = run_views.files_of(session, view.run.id, first)
        document = run_documents.render(session, view.run, person.caller)
        repetition = repetitions.of_run(session, view.run) if view.run.status == run_states.FAILED else None
        retries = repetition is not None and person.may(EXPORT_DATASETS)
        # What a repetition has not delivered is on the page of that run.
        is_repeated = repetition is not None and repetition.by is not None
        owed = [] if is_repeated else undelivered.still_owed(session, view.run, view.owed)
        sentences = [undelivered.sentence(one, view.run, view.flow, retries=retries) for one in owed]
        delivered = pending_rows.datasets_after_run(session, person.caller, view)
    pending = pending_rows.count_pending(person.backend.database, person.backend.lake, person.caller, delivered)
    # A manifest names every file: a long one is only offered for download.
    manifest = _manifest(person, run_id) if view.run.completed_at is not None and not more and not first else ""
    return page(
        request,
        person,
        "run.html",
        status,
        view=view,
        run=view.run,
        is_live=view.run.status in run_states.LIVE,
        numbers=live.numbers(view.progress, person.now_ms),
        destination=_SPECS.get(view.target.connection_spec_id, "") if view.target else "",
        files=files,
        first=first,
        next_url=url.with_(**{"from": first + run_views.PAGE}) if more else "",
        first_url=url.with_() if first else "",
        owed=sentences,
        repetition=repetition,
        obstacles=repetitions.WORDS,
        not_repeated=refused,
        period=_period(view.run.params or {}) if view.run.pins else "",
        pending=pending,
        manifest_file=view.run.manifest if view.run.status == run_states.SUCCESS else None,
        verification=verifications.find(run_id),
        has_downloads=view.target is not None and view.target.connection_spec_id == _ZONE,
        manifest=manifest,
        metrics=json.dumps(document["metrics"], indent=2, ensure_ascii=False),
    )


@router.post("/ui/{sandbox}/runs/{run_id}/cancel")
def cancel(person: PersonOf, run_id: str, _form: Form) -> Response:
    """Cancel a live run."""
    return _act(person, run_id, "CANCEL")


@router.post("/ui/{sandbox}/runs/{run_id}/try-now")
def try_now(person: PersonOf, run_id: str, _form: Form) -> Response:
    """Let a waiting run be tried at once; one that has just been started or has ended is shown as it is."""
    try:
        with person.backend.database.writing() as session:
            runs.try_now(session, person.caller, run_id, person.now_ms)
    except Problem as problem:
        if problem.code != problems.WRONG_ACTION:
            raise
    return RedirectResponse(person.url(f"runs/{run_id}"), 303)


@router.post("/ui/{sandbox}/runs/{run_id}/retry")
def retry(request: Request, person: PersonOf, run_id: str, _form: Form) -> Response:
    """Repeat a failed run; shows the new run, or the one that has repeated it already."""
    person.caller.require(EXPORT_DATASETS)
    with person.backend.database.reading() as session:
        row = runs.find(session, person.caller, run_id)
        found = repetitions.of_run(session, row) if row.status == run_states.FAILED else None
        by_id = found.by.id if found is not None and found.by is not None else ""
    if found is None or by_id:
        return RedirectResponse(person.url(f"runs/{by_id or run_id}"), 303)
    if found.obstacle is not None:
        return _receipt(request, person, run_id, 409, repetitions.WORDS[found.obstacle])
    return _act(person, run_id, "RE_TRIGGER")


@router.get("/ui/{sandbox}/runs/{run_id}/manifest")
def manifest_file(person: PersonOf, run_id: str) -> Response:
    """The manifest as a file."""
    with person.backend.database.reading() as session:
        content = run_manifests.read_manifest(session, person.caller, run_id)
    name = f'attachment; filename="manifest-{run_id}.json"'
    return Response(content, headers={"Content-Disposition": name}, media_type="application/json")


@router.post("/ui/{sandbox}/runs/{run_id}/verify")
def verify(request: Request, person: PersonOf, run_id: str, _form: Form) -> Response:
    """Read the delivered files back and compare them with the receipt; the run's page shows the result."""
    person.caller.require(EXPORT_DATASETS)
    verifications: Verifications = request.app.state.verifications
    verifications.start(person, run_id)
    return RedirectResponse(f"{person.url(f'runs/{run_id}')}#verification", 303)


@router.get("/ui/{sandbox}/runs/{run_id}/files/{number}")
def download(person: PersonOf, run_id: str, number: FileNumber) -> Response:
    """A delivered file of the data landing zone."""
    person.caller.require(VIEW_DATASETS)
    with person.backend.database.reading() as session:
        view = run_views.find_run(session, person.caller, run_id)
        part = run_views.file_of(session, view.run.id, number)
    if part is None or view.target is None or view.target.connection_spec_id != _ZONE:
        raise problems.not_found("files", str(number))
    sink = person.backend.sandbox_location(person.caller).zone("dlz_destination").open()
    size = sink.size(part.key)
    if size is None:
        raise problems.not_found("files", part.key)
    name = quote(part.key.rpartition("/")[2], safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Length": str(size)}
    return StreamingResponse(sink.read(part.key), headers=headers, media_type="application/octet-stream")


def _period(params: Json) -> str:
    """The days of a backfill in words; empty for a run without them."""
    first, last = params.get("windowStartTime"), params.get("windowEndTime")
    if last is None:
        return ""
    until = f"{datetime.fromtimestamp(last / 1000, UTC):%Y-%m-%d}"
    if first is None:
        return f"until the end of {until} (UTC)"
    since = f"{datetime.fromtimestamp(first / 1000, UTC):%Y-%m-%d}"
    return f"on {since} (UTC)" if since == until else f"from {since} to {until} (UTC)"


def _act(person: Person, run_id: str, action: str) -> Response:
    with person.backend.database.writing() as session:
        row = runs.act(session, person.caller, run_id, action, None, person.now_ms)
    return RedirectResponse(person.url(f"runs/{row.id}"), 303)


def _manifest(person: Person, run_id: str) -> str:
    """The manifest's text; empty for a run that has none."""
    try:
        with person.backend.database.reading() as session:
            return run_manifests.read_manifest(session, person.caller, run_id).decode()
    except Problem:
        return ""
