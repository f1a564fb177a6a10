"""Files to remove: what failed runs and failed attempts left at destinations."""

from fastapi import APIRouter, Request, Response

from offtake.flows import owed
from offtake.web.person import PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)


@router.get("/ui/{sandbox}/owed")
def list_owed(request: Request, person: PersonOf) -> Response:
    """The runs that left files, the longest owed first."""
    url = ListUrl(request)
    with person.backend.database.reading() as session:
        found = owed.search(session, person.caller, url.number("from"), owed.PAGE + 1)
        total = owed.count(session, person.caller)
    return page(request, person, "owed.html", lines=found[: owed.PAGE], total=total, pages=url.pages(found, owed.PAGE))
