"""Completes, aborts and reverts batches, as the API does."""

from offtake.catalog import batch_documents, batches
from offtake.contract import problems
from offtake.store.batches import OPEN
from offtake.web.person import Person


def act(person: Person, batch_id: str, action: batches.Action, dataset_id: str | None = None) -> None:
    """Do that with the batch; deletes its uploaded files when it has ended.

    Raises 1422, and 1439 also for a batch of another dataset than `dataset_id`.
    """
    backend = person.backend
    with backend.database.writing() as session:
        row = batch_documents.find(session, person.caller, batch_id, lock=True)
        if dataset_id is not None and row.dataset_id != dataset_id:
            raise problems.not_found("batches", batch_id)
        batches.act(session, person.caller, row, action, backend.clock.now_ms())
        has_ended = row.status not in OPEN
    if has_ended:
        backend.uploads.remove(batch_id)
