"""How the pages call the states of batches."""

from dataclasses import dataclass
from typing import Final

from offtake.store import batches as store
from offtake.store.tables import Batch


@dataclass(frozen=True)
class Look:
    """A state: the name of its look in `ui/state.html`, and the word for it."""

    name: str
    word: str


_LOOKS: Final = {
    store.LOADING: Look("waiting", "Uploaded"),
    store.STAGED: Look("queued", "Queued"),
    store.PROCESSING: Look("processing", "Importing"),
    store.SUCCESS: Look("success", "Imported"),
    store.FAILED: Look("failed", "Failed"),
    store.ABORTED: Look("cancelled", "Discarded"),
    store.ABANDONED: Look("cancelled", "Abandoned"),
    store.INACTIVE: Look("cancelled", "Reverted"),
}


def look_of(batch: Batch) -> Look:
    """The state of a batch."""
    if batch.status in (store.STAGED, store.PROCESSING) and batch.snapshot_id is not None:
        return Look("processing", "Reverting")
    if batch.status == store.INACTIVE and "acp_successor" in batch.tags:
        return Look("cancelled", "Replaced")
    return look_of_status(batch.status)


def look_of_status(status: str) -> Look:
    """The state by its name alone."""
    return _LOOKS.get(status, Look("none", status))


def is_busy(batch: Batch) -> bool:
    """Whether the batch ends soon by itself."""
    return batch.status in (store.STAGED, store.PROCESSING)
