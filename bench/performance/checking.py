"""Whether a tool's output holds the rows of the source: read by DuckDB, in a process of its own.

`python -m bench.performance.checking json|parquet FILE…` prints what the files hold: their rows; a sum over a hash of
each row's key columns, nested ones included, which does not depend on the rows' order and must be equal; and the same
for columns whose values tools write in different forms, each in a sum of its own.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.performance.server import environment

_ITEM: Final = "STRUCT(sku VARCHAR, name VARCHAR, quantity INTEGER, price VARCHAR)"
_CUSTOMER: Final = "STRUCT(id VARCHAR, email VARCHAR, loyalty STRUCT(tier VARCHAR, points BIGINT))"
_JSON_COLUMNS: Final = {
    "_id": "VARCHAR",
    "eventType": "VARCHAR",
    "timestamp": "VARCHAR",
    "receivedOn": "VARCHAR",
    "customer": _CUSTOMER,
    "order": f"STRUCT(id VARCHAR, total VARCHAR, currency VARCHAR, items {_ITEM}[])",
    "attributes": "JSON",
    "device": "STRUCT(type VARCHAR, osVersion VARCHAR)",
    "consent": "BOOLEAN",
    "scores": "DOUBLE[]",
}
_RENAMED: Final = {"eventType": "event_type", "receivedOn": "received_on"}
"""What dlt makes of names in camel case; both are looked for."""

_KEYS: Final = (
    '"_id", {eventType}, customer.id, customer.email, customer.loyalty.points, "order".id, "order".currency, '
    '[one.sku for one in "order".items], [one.quantity for one in "order".items], device.type, consent, len(scores)'
)
_FORMS: Final = {
    "decimals": 'CAST("order".total AS DECIMAL(18, 2)), [CAST(one.price AS DECIMAL(12, 2)) for one in "order".items]',
    "timestamps": 'epoch_us(TRY_CAST("timestamp" AS TIMESTAMPTZ))',
    "dates": "TRY_CAST({receivedOn} AS DATE)",
    "floats": "scores",
}


@dataclass(frozen=True)
class Held:
    """What some files hold: rows, the sum over the key columns, and the sums of the columns whose form may differ."""

    rows: int
    keys: int
    forms: dict[str, int]
    maps: str
    """How maps are written: `object`, or `array` of pairs."""


def held(case: str, files: Sequence[Path]) -> Held:
    """What a case's output holds."""
    kind = "json" if case.startswith("json") else "parquet"
    command: list[str | Path] = [sys.executable, "-m", "bench.performance.checking", kind, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise SystemExit(f"The output cannot be read: {done.stderr[-2000:]}")
    return Held(**json.loads(done.stdout))


def differences(source: Held, output: Held, tool: str) -> list[str]:
    """In which forms the output differs from the source. Raises `SystemExit` when its rows are others."""
    if (source.rows, source.keys) != (output.rows, output.keys):
        raise SystemExit(f"{tool} wrote other rows: {output} instead of {source}.")
    other = [name for name, value in source.forms.items() if output.forms[name] != value]
    return [*other, *(["maps as lists of pairs"] if output.maps == "array" else [])]


def _main(kind: str, files: list[str]) -> None:
    import duckdb  # noqa: PLC0415 - the process that asks need not have it

    connection: Any = duckdb.connect()
    connection.sql("SET enable_progress_bar = false; SET TimeZone = 'UTC'; SET memory_limit = '4GB'")
    names = {name: f'"{name}"' for name in _JSON_COLUMNS}
    if kind == "json":
        columns = _JSON_COLUMNS | {_RENAMED[name]: _JSON_COLUMNS[name] for name in _RENAMED}
        names |= {name: f'coalesce("{name}", "{other}")' for name, other in _RENAMED.items()}
        rows = connection.read_json(files, columns=columns, format="newline_delimited", compression="gzip")
        maps = "coalesce(max(json_type(attributes)) FILTER (attributes IS NOT NULL), 'NULL')"
    else:
        rows = connection.read_parquet(files)
        maps = "CASE WHEN max(typeof(attributes)) LIKE 'MAP%' THEN 'object' ELSE 'array' END"
    sums = [f"sum(hash({text.format(**names)}))::VARCHAR" for text in (_KEYS, *_FORMS.values())]
    found: Any = rows.aggregate(f"count(*), lower({maps}), {', '.join(sums)}").fetchall()
    count, form, keys, *others = found[0]
    forms = dict(zip(_FORMS, map(int, others), strict=True))
    print(json.dumps({"rows": count, "keys": int(keys), "forms": forms, "maps": form}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
