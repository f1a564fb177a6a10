"""A page with all components, to look at and to test them."""

from fastapi import APIRouter, Request, Response

from offtake.web.person import PersonOf
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)


@router.get("/ui/{sandbox}/style")
def style(request: Request, person: PersonOf) -> Response:
    """All components of the pages."""
    return page(request, person, "style.html")
