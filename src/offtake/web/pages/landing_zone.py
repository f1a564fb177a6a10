"""The sandbox's landing zone: where it is, and credentials for consumers, which are shown on request only."""

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request, Response

from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.destinations.zones import ZoneType
from offtake.landing_zone import credentials, keys
from offtake.landing_zone.credentials import BucketFolder, S3Credentials
from offtake.landing_zone.keys import Credentials
from offtake.web.form_body import Form, text
from offtake.web.person import Person, PersonOf
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_DELIVERED: Final[ZoneType] = "dlz_destination"


@dataclass(frozen=True)
class _Issued:
    """Credentials as the page shows them: labels and values. `expires_ms`: in epoch milliseconds."""

    values: tuple[tuple[str, str], ...]
    expires_ms: int


@router.get("/ui/{sandbox}/landing-zone")
def zone(request: Request, person: PersonOf) -> Response:
    """Where the zone is, without credentials."""
    return _page(request, person, None)


@router.post("/ui/{sandbox}/landing-zone")
def show(request: Request, person: PersonOf, form: Form) -> Response:
    """Issue credentials to the person, and show them in the answer; `do=refresh` revokes earlier ones."""
    issue = credentials.refresh if text(form, "do") == "refresh" else credentials.issue
    issuer = person.backend.zone_credentials
    try:
        issued = issue(issuer, person.caller, _DELIVERED, person.now_ms)
    except Problem as problem:
        if problem.code.status < 500:  # noqa: PLR2004 - the storage does not answer
            raise
        return _page(request, person, None, str(problem), problem.code.status)
    return _page(request, person, _shown(issued, str(request.base_url).rstrip("/")))


def _page(request: Request, person: Person, issued: _Issued | None, problem: str = "", status: int = 200) -> Response:
    person.caller.require(VIEW_DESTINATIONS)
    place = person.backend.zone_credentials.place(person.caller, _DELIVERED)
    return page(
        request,
        person,
        "landing-zone.html",
        status,
        place=f"{place.bucket}/{place.folder}" if isinstance(place, BucketFolder) else place,
        days=person.backend.settings.landing_zone_retention_days,
        issued=issued,
        problem=problem,
        deletes=keys.may_delete(person.caller),
        may_get=person.may(VIEW_DATASETS),
        may_refresh=person.may(VIEW_DATASETS) and person.may(EXPORT_DATASETS, MANAGE_DESTINATIONS),
    )


def _shown(issued: Credentials | S3Credentials, origin: str) -> _Issued:
    if isinstance(issued, S3Credentials):
        session = issued.session
        of_session = (
            ("Endpoint", issued.endpoint),
            ("Bucket", issued.place.bucket),
            ("Folder", issued.place.folder),
            ("Access key", session.access_key_id),
            ("Secret access key", session.secret_access_key),
            ("Session token", session.token),
        )
        return _Issued(tuple(one for one in of_session if one[1]), session.expires_at * 1000)
    values = (
        ("Address with signature (SAS URI)", credentials.address_of(issued, origin)),
        ("Storage account", issued.account),
        ("Container", issued.container),
        ("Signature (SAS token)", issued.query),
    )
    return _Issued(values, issued.expires_at)
