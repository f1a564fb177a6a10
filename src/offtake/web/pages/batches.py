"""One batch of a dataset: its progress, files, errors; and reverting or discarding it."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.access import client_names
from offtake.catalog import batch_files, dataset_details
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DATASETS, VIEW_DESTINATIONS
from offtake.flows import dataset_exports
from offtake.store import batches as store
from offtake.web import batch_actions, batch_states
from offtake.web.form_body import Form
from offtake.web.local_paths import local_path
from offtake.web.person import PersonOf
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_MOST_FILES: Final = 100
_MOST_EXPORTS: Final = 5
_PAGE: Final = "/ui/{sandbox}/datasets/{dataset_id}/batches/{batch_id}"


@router.get(_PAGE)
def batch(request: Request, person: PersonOf, dataset_id: str, batch_id: str) -> Response:
    """The batch; it refreshes until it has ended. `next` in the URL: the page that the import was started from."""
    backend, caller = person.backend, person.caller
    with backend.database.reading() as session:
        row = dataset_details.batch(session, caller, dataset_id, batch_id)
        dataset = dataset_details.get(session, caller, dataset_id)
        sent = dataset_details.sent_files(session, caller, batch_id, _MOST_FILES + 1)
        _, stored = batch_files.of_batch(session, backend.lake, caller, batch_id)
        created_by = client_names.name_of(session, row.created_client, row.created_by)
        shows_flows = person.may(VIEW_DESTINATIONS)
        exports = (
            dataset_exports.of_dataset(session, caller, dataset_id, 0, _MOST_EXPORTS + 1, person.now_ms)
            if shows_flows
            else []
        )
    may_manage = person.may(MANAGE_DATASETS)
    is_imported = row.status == store.SUCCESS and row.snapshot_id is not None
    is_waiting = row.status in (store.LOADING, store.STAGED) and row.snapshot_id is None
    return page(
        request,
        person,
        "batch.html",
        batch=row,
        dataset=dataset,
        created_by=created_by,
        exports=exports[:_MOST_EXPORTS],
        more_exports=len(exports) > _MOST_EXPORTS,
        shows_flows=shows_flows,
        next=local_path(request.query_params.get("next", "")),
        is_imported=is_imported,
        may_export=is_imported and shows_flows and person.may(EXPORT_DATASETS),
        look=batch_states.look_of(row),
        is_busy=batch_states.is_busy(row),
        sent=sent[:_MOST_FILES],
        stored=stored[:_MOST_FILES],
        stored_count=len(stored),
        may_manage=may_manage,
        may_revert=may_manage and row.status == store.SUCCESS,
        may_discard=may_manage and is_waiting,
        may_review=may_manage and row.status == store.LOADING and bool(sent),
    )


@router.post(_PAGE + "/revert")
def revert(person: PersonOf, dataset_id: str, batch_id: str, _form: Form) -> Response:
    """Remove the batch's rows from the dataset."""
    batch_actions.act(person, batch_id, "REVERT", dataset_id)
    return RedirectResponse(person.url(f"datasets/{dataset_id}/batches/{batch_id}"), 303)


@router.post(_PAGE + "/discard")
def discard(person: PersonOf, dataset_id: str, batch_id: str, _form: Form) -> Response:
    """Abort a batch that is not imported yet."""
    batch_actions.act(person, batch_id, "ABORT", dataset_id)
    return RedirectResponse(person.url(f"datasets/{dataset_id}/batches"), 303)
