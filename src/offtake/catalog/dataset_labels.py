"""The labels of a dataset, in the form of the vendor's Dataset Service (contract, revision V8)."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.catalog import datasets
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import ALL, MANAGE_DATASETS, VIEW_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.store.tables import Dataset

_RESOURCE: Final = "labels"


class LabelBody(Body):
    """The new labels of a dataset."""

    labels: list[str]
    optional_labels: Annotated[
        list[Json], Field(default_factory=list, max_length=0, description="Labels of fields are not offered: empty.")
    ]


@dataclass(frozen=True)
class DatasetLabels:
    """The labels of one dataset, in order."""

    labels: tuple[str, ...]

    @property
    def etag(self) -> str:
        """The etag for `If-Match`: a hash of the labels."""
        return f'"{hashlib.sha256(json.dumps(self.labels).encode()).hexdigest()[:32]}"'

    def render(self) -> Json:
        """The labels as a JSON document."""
        return {"labels": list(self.labels), "optionalLabels": []}


def get(session: Session, caller: Caller, dataset_id: str) -> DatasetLabels:
    """The labels of a dataset; raises 1439 when it has none."""
    caller.require(VIEW_DATASETS, MANAGE_DATASETS)
    found = _labels_of(session, datasets.get(session, caller, dataset_id))
    if not found.labels:
        raise Problem(problems.NOT_FOUND, f"Dataset {dataset_id} has no labels.", _RESOURCE, dataset_id)
    return found


def replace(
    session: Session, caller: Caller, dataset_id: str, sent: Sent, if_match: str | None, now_ms: int
) -> DatasetLabels:
    """Replace the dataset's labels; an empty list removes all.

    Raises 1403 without `If-Match`, 1404 when it is neither `*` nor the current etag, and 2120 when the caller lacks a
    label that is added or removed.
    """
    caller.require(MANAGE_DATASETS)
    row = datasets.get(session, caller, dataset_id, lock=True)
    _check_etag(_labels_of(session, row), if_match, dataset_id)
    return _set(session, caller, row, sent, now_ms)


def add(session: Session, caller: Caller, dataset_id: str, sent: Sent, now_ms: int) -> DatasetLabels:
    """Set the labels of a dataset without labels (deprecated by the vendor); raises 3403 when it has labels."""
    caller.require(MANAGE_DATASETS)
    row = datasets.get(session, caller, dataset_id, lock=True)
    if _labels_of(session, row).labels:
        message = f"Dataset {dataset_id} already has labels. Use a PUT request to replace them."
        raise Problem(problems.LABELS_EXIST, message, _RESOURCE, dataset_id)
    return _set(session, caller, row, sent, now_ms)


def _labels_of(session: Session, row: Dataset) -> DatasetLabels:
    return DatasetLabels(tuple(labels.labels_of(session, row.id)))


def _set(session: Session, caller: Caller, row: Dataset, sent: Sent, now_ms: int) -> DatasetLabels:
    new = bodies.parse_body(LabelBody, sent).labels
    changed = set(new) ^ set(_labels_of(session, row).labels)
    granted = caller.grants.labels
    if ALL not in granted and not changed <= granted:
        missing = ", ".join(sorted(one[:100] for one in changed - granted)[:10])
        raise Problem(problems.FORBIDDEN, f"Adding or removing a label needs a role that has it: {missing}.")
    try:
        return DatasetLabels(tuple(datasets.set_labels(session, caller, row, new, now_ms)))
    except InvalidInputError as error:
        raise problems.of_fields(error) from None


def _check_etag(current: DatasetLabels, if_match: str | None, dataset_id: str) -> None:
    sent = (if_match or "").strip()
    if not sent:
        raise Problem(problems.NO_IF_MATCH, "The header If-Match is missing: send the etag of the last GET, or *.")
    if sent != "*" and sent.removeprefix("W/").strip('"') != current.etag.strip('"'):
        message = f"The labels of dataset {dataset_id} have etag {current.etag}, not the one sent. Read them again."
        raise Problem(problems.OTHER_VERSION, message, _RESOURCE, dataset_id)
