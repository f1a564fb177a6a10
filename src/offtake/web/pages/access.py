"""The entrance of the access pages, and what their parts share."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.contract.caller import MANAGE_ACCESS
from offtake.web import navigation
from offtake.web.person import Person, PersonOf
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

PAGE: Final = 50


@router.get("/ui/{sandbox}/access")
def entrance(request: Request, person: PersonOf) -> Response:
    """Lead to the first part that the person may see."""
    tabs = navigation.access_tabs(person, request.url.path)
    if not tabs:
        person.member.require_everywhere(MANAGE_ACCESS)
    return RedirectResponse(tabs[0].url, 303)


def show(request: Request, person: Person, template: str, status: int = 200, **values: object) -> Response:
    """A page of this group, with its tabs."""
    tabs = [(one.label, one.url, one.here) for one in navigation.access_tabs(person, request.url.path)]
    return page(request, person, template, status, tabs=tabs, **values)
