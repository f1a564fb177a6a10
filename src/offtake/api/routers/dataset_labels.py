"""Labels of datasets (contract, revision V8)."""

from typing import Final

from fastapi import APIRouter, Response

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch
from offtake.catalog import dataset_labels
from offtake.catalog.dataset_labels import DatasetLabels, LabelBody
from offtake.documents import Json

router = APIRouter(tags=["dataset labels"])

_PATH: Final = "/datasets/{dataset_id}/labels"
_LABELS: Final[Json] = {"labels": ["core/C12"], "optionalLabels": []}
_CHANGED: Final = document_operation(_LABELS, body=LabelBody, body_example=_LABELS, errors=(412,))
_ADDED: Final = document_operation(_LABELS, status=201, body=LabelBody, body_example=_LABELS)


@router.get(_PATH, **document_operation(_LABELS))
def get_labels(caller: CallerOf, backend: BackendOf, dataset_id: str, response: Response) -> Json:
    """Get the labels of a dataset; 404 if it has none."""
    with backend.database.reading() as session:
        return _answer(response, dataset_labels.get(session, caller, dataset_id))


@router.put(_PATH, **_CHANGED)
def replace_labels(
    caller: CallerOf,
    backend: BackendOf,
    dataset_id: str,
    body: JsonBody,
    response: Response,
    if_match: IfMatch = None,
) -> Json:
    """Replace the labels of a dataset; an empty list removes them."""
    now_ms = backend.clock.now_ms()
    with backend.database.writing() as session:
        return _answer(response, dataset_labels.replace(session, caller, dataset_id, body, if_match, now_ms))


@router.post(_PATH, status_code=201, deprecated=True, **_ADDED)
def add_labels(caller: CallerOf, backend: BackendOf, dataset_id: str, body: JsonBody, response: Response) -> Json:
    """Add the first labels to a dataset; PUT does the same."""
    with backend.database.writing() as session:
        return _answer(response, dataset_labels.add(session, caller, dataset_id, body, backend.clock.now_ms()))


def _answer(response: Response, found: DatasetLabels) -> Json:
    response.headers["etag"] = found.etag
    return found.render()
