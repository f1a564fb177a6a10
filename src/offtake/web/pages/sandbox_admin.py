"""Sandboxes: the list, creation, the title, reset and deletion."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.contract import problems
from offtake.contract.caller import MANAGE_SANDBOXES
from offtake.contract.problems import Problem
from offtake.sandboxes import sandboxes
from offtake.store.sandbox_states import ACTIVE
from offtake.usage import quotas
from offtake.web import quota_form
from offtake.web.form_body import Form, text
from offtake.web.pages.access import PAGE, show
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.quota_form import QuotaForm
from offtake.web.rendering import quoted
from offtake.web.routes import PageRoute
from offtake.web.typed_names import wrong_name

router = APIRouter(route_class=PageRoute)

_STALE: Final = 409


@router.get("/ui/{sandbox}/access/sandboxes")
def list_sandboxes(request: Request, person: PersonOf) -> Response:
    """The sandboxes in which the person has a role; the default one first."""
    url = ListUrl(request)
    wanted, start = url.text("q").casefold(), url.number("from")
    with person.backend.database.reading() as session:
        visible = [
            one for one in sandboxes.visible(session, person.member) if wanted in f"{one.name} {one.title}".casefold()
        ]
        found = visible[start : start + PAGE + 1]
    return show(
        request,
        person,
        "sandboxes.html",
        sandboxes=found[:PAGE],
        search=url.text("q"),
        next_url=url.with_(**{"from": start + PAGE}) if len(found) > PAGE else "",
        first_url=url.with_() if start else "",
    )


@router.get("/ui/{sandbox}/access/new-sandbox")
def new_sandbox(request: Request, person: PersonOf) -> Response:
    """The form of a new sandbox."""
    person.member.require_everywhere(MANAGE_SANDBOXES)
    return _new(request, person, {"name": "", "title": "", "type": "development"}, {})


@router.post("/ui/{sandbox}/access/new-sandbox")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Create the sandbox; it is active at once."""
    body = {name: text(form, name) for name in ("name", "title", "type")}
    try:
        with person.backend.database.writing() as session:
            sandboxes.create(session, person.member, body, person.now_ms)
    except Problem as problem:
        return _new(request, person, body, _by_field(problem), 422)
    return RedirectResponse(_url(person, body["name"]), 303)


@router.get("/ui/{sandbox}/access/sandboxes/{name}")
def sandbox_page(request: Request, person: PersonOf, name: str) -> Response:
    """A sandbox, what its removal would mean, and its actions."""
    return _sandbox(request, person, name)


@router.post("/ui/{sandbox}/access/sandboxes/{name}/rename")
def rename(request: Request, person: PersonOf, name: str, form: Form) -> Response:
    """Change the title, unless the sandbox was changed since the form was loaded."""
    title = text(form, "title")
    try:
        with person.backend.database.writing() as session:
            row, _ = sandboxes.find(session, person.member, name)
            is_stale = str(row.revision) != text(form, "revision")
            if not is_stale:
                sandboxes.rename(session, person.member, name, {"title": title}, person.now_ms)
    except Problem as problem:
        return _sandbox(request, person, name, _by_field(problem), title, 422)
    if is_stale:
        changed = {"title": "The sandbox was changed since this page was loaded; its present title is above."}
        return _sandbox(request, person, name, changed, title, _STALE)
    return RedirectResponse(_url(person, name), 303)


@router.post("/ui/{sandbox}/access/sandboxes/{name}/quotas")
def set_quotas(request: Request, person: PersonOf, name: str, form: Form) -> Response:
    """Set and remove quotas: all that were changed, or none."""
    with person.backend.database.writing() as session:
        row, inside = sandboxes.find(session, person.member, name)
        inside.require(MANAGE_SANDBOXES)
        sandboxes.lock_active(session, row)
        changed, shown = quota_form.changes(form, quotas.list_quotas(session, inside, person.now_ms))
        if not shown.problems and not shown.stale:
            for measure, limit in changed.items():
                if limit is None:
                    quotas.remove(session, inside, measure, person.now_ms)
                else:
                    quotas.set_quota(session, inside, measure, {"limit": limit}, person.now_ms)
    if shown.problems or shown.stale:
        return _sandbox(request, person, name, status=422 if shown.problems else _STALE, quota=shown)
    person.backend.database.wakeup.notify()
    return RedirectResponse(f"{_url(person, name)}?quotas=set#quotas", 303)


@router.post("/ui/{sandbox}/access/sandboxes/{name}/reset")
def reset(request: Request, person: PersonOf, name: str, form: Form) -> Response:
    """Remove everything in the sandbox, after its name was typed."""
    wrong = wrong_name(form, name, name)
    if wrong:
        return _sandbox(request, person, name, {"": wrong}, status=422)
    with person.backend.database.writing() as session:
        sandboxes.reset(session, person.member, name, {"action": "reset"}, person.now_ms)
    return _removed(request, person, name)


@router.post("/ui/{sandbox}/access/sandboxes/{name}/delete")
def delete(request: Request, person: PersonOf, name: str, form: Form) -> Response:
    """Delete the sandbox with everything in it, after its name was typed."""
    wrong = wrong_name(form, name, name)
    if wrong:
        return _sandbox(request, person, name, {"": wrong}, status=422)
    with person.backend.database.writing() as session:
        sandboxes.remove(session, person.member, name, person.now_ms)
    return _removed(request, person, name)


def _new(
    request: Request, person: Person, values: dict[str, str], found: dict[str, str], status: int = 200
) -> Response:
    labels = {"name": "Name", "title": "Title", "type": "Type"}
    summary = [(name, labels.get(name, ""), message) for name, message in found.items()]
    return show(request, person, "new-sandbox.html", status, values=values, problems=found, summary=summary)


def _sandbox(
    request: Request,
    person: Person,
    name: str,
    found: dict[str, str] | None = None,
    title: str | None = None,
    status: int = 200,
    quota: QuotaForm | None = None,
) -> Response:
    with person.backend.database.reading() as session:
        row, inside = sandboxes.find(session, person.member, name)
        content = sandboxes.content(session, row)
        may_manage = inside.grants.allow(MANAGE_SANDBOXES) and row.state == ACTIVE
        if may_manage and quota is None:
            quota = quota_form.of_stored(quotas.list_quotas(session, inside, person.now_ms))
        return show(
            request,
            person,
            "sandbox.html",
            status,
            row=row,
            content=content,
            title=row.title if title is None else title,
            problems=found or {},
            may_rename=may_manage,
            quota=quota if may_manage else None,
            is_set=status < _STALE and ListUrl(request).text("quotas") == "set",
            may_reset=inside.grants.allow("reset-sandboxes") and row.state == ACTIVE,
            may_delete=person.may_everywhere(MANAGE_SANDBOXES) and row.state == ACTIVE and not row.is_default,
        )


def _by_field(problem: Problem) -> dict[str, str]:
    if problem.code in (problems.FORBIDDEN, problems.SANDBOX_NOT_FOUND):
        raise problem
    if problem.code == problems.CONFLICT:
        return {"name": str(problem)}
    return {one.path.removeprefix("/"): one.message for one in problem.fields} or {"": str(problem)}


def _removed(request: Request, person: Person, name: str) -> Response:
    """Lead to the list of sandboxes; if this one cannot be entered now, explain that and offer the others."""
    if person.sandbox.name != name:
        return RedirectResponse(person.url("access/sandboxes"), 303)
    others = [one for one in person.sandboxes if one.name != name]
    with person.backend.database.reading() as session:
        state = sandboxes.find(session, person.member, name)[0].state
    return show(request, person, "sandbox-removed.html", 202, state=state, others=others)


def _url(person: Person, name: str) -> str:
    return person.url(f"access/sandboxes/{quoted(name)}")
