"""Verdicts as a table, and as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.corpus.judging import OUTCOMES, Verdict


def table(verdicts: Sequence[Verdict]) -> str:
    """Counts by kind of file and verdict, and the documented changes."""
    counts = Counter((one.kind, one.outcome) for one in verdicts)
    rows = Counter[str]()
    reasons = Counter[str]()
    for one in verdicts:
        rows[one.kind] += one.rows
        reasons.update(one.reasons or {})
    lines = [f"{'':<10}" + "".join(f"{outcome:>12}" for outcome in OUTCOMES) + f"{'rows':>14}"]
    for kind in sorted({one.kind for one in verdicts}):
        cells = "".join(f"{counts[kind, outcome]:>12}" for outcome in OUTCOMES)
        lines.append(f"{kind:<10}{cells}{rows[kind]:>14,}")
    lines += [f"  {count:>12,}  {reason}" for reason, count in sorted(reasons.items())]
    return "\n".join(lines)


def details(verdict: Verdict) -> str:
    """A verdict that a reader should look at: what is wrong, or why a file was refused."""
    more = verdict.count - len(verdict.differences)
    lines = [f"{verdict.outcome}: {verdict.file}", *([verdict.sentence] if verdict.sentence else [])]
    lines += [str(one) for one in verdict.differences] + ([f"and {more:,} more"] if more > 0 else [])
    return "\n    ".join(lines)


def write_json(verdicts: Sequence[Verdict], file: Path) -> None:
    """All verdicts, in full."""
    found = [asdict(one) | {"file": str(one.file)} for one in verdicts]
    file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
