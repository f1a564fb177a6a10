"""The verdict on one file: every value of the original against both deliveries, row by row.

Rows are compared in order: those of one batch are delivered in the order of their file.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bench.corpus import as_ndjson, as_parquet
from bench.corpus.findings import MISSING, Difference, Findings
from bench.corpus.parquet_reading import UnreadableError, parquet_rows
from bench.corpus.pipeline import Delivery, Imported, Refused
from bench.corpus.text_reading import csv_rows, json_rows, ndjson_lines

Outcome = Literal["equal", "documented", "refused", "wrong"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("equal", "documented", "refused", "wrong")
_NO_TEXT: Final = "cannot be written as text in JSON"
"""Part of the error of a run with dates or times that NDJSON cannot represent (docs/types.md)."""
_KINDS: Final = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".json": "JSON",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
}


@dataclass(frozen=True)
class Verdict:
    """What became of a file.

    `sentence`: why it was refused, or what is wrong other than values. `reasons`: documented changes, each with the
    number of values. `differences` are the first of `count`.
    """

    file: Path
    kind: str
    outcome: Outcome
    rows: int = 0
    sentence: str = ""
    reasons: dict[str, int] | None = None
    count: int = 0
    differences: tuple[Difference, ...] = ()


def kind_of(file: Path) -> str | None:
    """What a file holds by its name, None if it is of no kind that comes in."""
    name = file.name.lower()
    packed = name.endswith(".gz")
    kind = _KINDS.get(Path(name.removesuffix(".gz")).suffix)
    return None if packed and kind == "Parquet" else kind


def judge_refusal(refused: Refused) -> Verdict:
    """Right, unless something was left behind, or the reason is not one for users."""
    kind = kind_of(refused.file) or ""
    if refused.is_crash:
        return Verdict(refused.file, kind, "wrong", sentence=f"The import crashed: {refused.sentence}")
    if refused.left:
        sentence = f"The refusal left something behind: {refused.left} ({refused.sentence})"
        return Verdict(refused.file, kind, "wrong", sentence=sentence)
    return Verdict(refused.file, kind, "refused", sentence=refused.sentence)


def judge(imported: Imported, delivery: Delivery) -> Verdict:
    """Compare every value of a file with what was delivered of it."""
    kind = kind_of(imported.file) or ""
    failures = {name: error for name, error in delivery.errors.items() if _NO_TEXT not in error}
    if failures:
        return Verdict(imported.file, kind, "wrong", imported.rows, f"It came in and cannot go out: {failures}")
    ndjson = Findings("NDJSON", is_json=kind == "JSON")
    parquet = Findings("Parquet", is_json=kind == "JSON")
    try:
        if "JSON" in delivery.files:
            lines = ndjson_lines(delivery.files["JSON"])
            _compare(original_rows(imported.file, imported.notes), lines, as_ndjson.compare, ndjson)
        files = itertools.chain.from_iterable(map(parquet_rows, delivery.files["PARQUET"]))
        _compare(original_rows(imported.file, imported.notes), files, as_parquet.compare, parquet)
    except (UnreadableError, ValueError, TypeError, OSError) as error:
        sentence = f"It cannot be compared: {type(error).__name__}: {error}"
        return Verdict(imported.file, kind, "wrong", imported.rows, sentence)
    count = ndjson.count + parquet.count
    reasons = dict(ndjson.reasons + parquet.reasons)
    # Parquet of a file whose NDJSON is refused is compared nevertheless.
    right: Outcome = "refused" if delivery.errors else "documented" if reasons else "equal"
    differences = (*ndjson.differences, *parquet.differences)
    sentence = "; ".join(delivery.errors.values())
    return Verdict(
        imported.file, kind, "wrong" if count else right, imported.rows, sentence, reasons, count, differences
    )


def original_rows(file: Path, notes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file, read by readers that Offtake does not use."""
    kind = kind_of(file)
    if kind == "CSV":
        return csv_rows(file, notes)
    return parquet_rows(file) if kind == "Parquet" else json_rows(file)


def _compare(
    originals: Iterator[Any],
    delivered: Iterator[Any],
    compare: Callable[[object, object, str, Findings], None],
    found: Findings,
) -> None:
    for original, got in itertools.zip_longest(originals, delivered, fillvalue=MISSING):
        found.row += 1
        if original is MISSING or got is MISSING:
            found.differ("(the whole row)", original, got)
        else:
            compare(original, got, "", found)
