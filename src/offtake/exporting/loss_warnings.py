"""Warnings of a run about values that the delivered format could not hold."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from offtake.documents import InfoItem
from offtake.errors import VALUES_LEFT_OUT
from offtake.formats.losses import NOT_A_NUMBER, NULL_ENTRY, REPEATED_KEY, Loss, LossKind
from offtake.store.tables import RunDataset, RunPart

_SENTENCES: Final[dict[LossKind, str]] = {
    NOT_A_NUMBER: "NaN or infinite values were written as null, because JSON has no such numbers",
    NULL_ENTRY: "map entries with a null value were left out, as all nulls in NDJSON",
    REPEATED_KEY: "map entries were left out, because a later entry of the same map has their key",
}


def loss_warnings(datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> list[InfoItem]:
    """One warning for each dataset, column and kind of loss, with the count of all parts."""
    counts: Counter[tuple[str, str, LossKind]] = Counter()
    for part in parts:
        for loss in map(Loss.from_json, part.losses or ()):
            counts[part.dataset_id, loss.column, loss.kind] += loss.count
    names = {dataset.dataset_id: dataset.dataset_name for dataset in datasets}
    return [
        {
            "code": VALUES_LEFT_OUT.code,
            "message": f"{names[dataset_id]}: column {column}: {count} {_SENTENCES[kind]}. "
            "Export the dataset as PARQUET to keep them.",
            "type": "Warning",
            "dataSetId": dataset_id,
        }
        for (dataset_id, column, kind), count in sorted(counts.items())
    ]
