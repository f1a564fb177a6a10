"""Writes the tables of `cases` with DuckDB through a REST catalog, and what DuckDB reads after each statement.

Runs in an environment with duckdb and its extensions, not in that of the other tests.
"""

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import duckdb_ext

from tests.interop.duckdb.cases import CASES, MAPS
from tests.interop.values import plain


def connect(catalog: str, endpoint: str, key: str, secret: str) -> Any:
    """A connection with the catalog `lake`. Its extensions are those of packages: none is fetched."""
    found = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("httpfs", "avro", "iceberg", "icu"):
        (path,) = Path(next(iter(duckdb_ext.__path__))).rglob(f"{name}.duckdb_extension")
        found.execute(f"LOAD '{path}'")
    found.execute("SET TimeZone = 'UTC'")
    host = endpoint.removeprefix("http://")
    found.execute(
        f"CREATE SECRET s (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{host}', URL_STYLE 'path', "
        "USE_SSL false, REGION 'us-east-1')"
    )
    found.execute(
        f"ATTACH '' AS lake (TYPE iceberg, ENDPOINT '{catalog}', AUTHORIZATION_TYPE 'none', "
        "ACCESS_DELEGATION_MODE 'none')"
    )
    found.execute("CREATE SCHEMA lake.duckdb")
    return found


def rows_of(connection: Any, table: str) -> list[dict[str, Any]]:
    """The current rows."""
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    return [
        {
            name: plain(list(value.items()) if name in MAPS and value else [] if value == {} else value)
            for name, value in zip(names, row, strict=True)
        }
        for row in cursor.fetchall()
    ]


def record(connection: Any, name: str) -> dict[str, Any]:
    """Write the table; what was read after each snapshot."""
    _, columns, statements = CASES[name]
    table = f"lake.duckdb.{name}_v2"
    connection.execute(f"CREATE TABLE {table} ({columns})")
    snapshots: list[dict[str, Any]] = []
    for statement in statements:
        connection.execute(statement.format(t=table))
        known = {one["id"] for one in snapshots}
        listed = connection.execute(f"SELECT snapshot_id FROM iceberg_snapshots({table})").fetchall()
        (made,) = [one for (one,) in listed if one not in known]
        rows = rows_of(connection, table)
        before = [json.dumps(row) for row in snapshots[-1]["rows"]] if snapshots else []
        # Rows are never written again unchanged: deletes are merged on read.
        added = [at for at, row in enumerate(rows) if json.dumps(row) not in before]
        parent = snapshots[-1]["id"] if snapshots else None
        snapshots.append({"id": made, "parent": parent, "operation": "append", "rows": rows, "added": added})
    refs = {"main": {"type": "BRANCH", "snapshot": snapshots[-1]["id"]}}
    return {"version": 2, "refs": refs, "snapshots": snapshots, "duckdb": duckdb.__version__}


def main() -> None:
    catalog, endpoint, key, secret, folder = sys.argv[1:]
    connection = connect(catalog, endpoint, key, secret)
    for name in CASES:
        found = record(connection, name)
        Path(folder, f"{name}_v2.json").write_text(json.dumps(found, ensure_ascii=False))
        print(name, len(found["snapshots"]), "snapshots", flush=True)


if __name__ == "__main__":
    main()
