"""How fast the same rows become files, here and in the tools one would use instead.

`python -m bench.formats [--rows N]` makes nested event rows once, as zstd Parquet. Each case then reads that file and
writes another in a fresh process. Seconds are those of the whole process, start and imports included; MB/s are of the
rows' Arrow bytes, the same for every case; RSS is the process's peak. Read speed together with size: the tools
choose different gzip levels by default.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_EVENTS: Final = """
SELECT
    uuid()::VARCHAR AS _id,
    TIMESTAMPTZ '2026-03-01 00:00:00+00' + to_microseconds((i * 86_400_007) % 31_536_000_000_000) AS "timestamp",
    ['web.webpagedetails.pageViews', 'commerce.purchases', 'commerce.productViews'][1 + i % 3] AS eventType,
    {'ECID': md5((i % 50_000)::VARCHAR), 'email': CASE WHEN i % 4 = 0 THEN 'user' || i % 50_000 || '@example.com' END}
        AS identity,
    {'url': 'https://www.example.com/products/' || i % 977 || '?ref=' || i % 13, 'server': 'www' || i % 5,
     'pageViews': {'value': random() * 10}} AS web,
    {'order': {'priceTotal': (random() * 1000)::DECIMAL(18, 4), 'currencyCode': ['EUR', 'CHF', 'USD'][1 + i % 3]},
     'lines': list_transform(range(i % 4), lambda n: {'sku': 'SKU-' || (i * 7 + n) % 10_007, 'quantity': n + 1,
                                                      'price': (random() * 99)::DECIMAL(18, 4)})} AS commerce,
    MAP {'browser': 'Firefox ' || 100 + i % 40, 'os': ['Linux', 'Windows', 'iOS'][1 + i % 3]} AS device,
    list_transform(range(i % 3), lambda n: 'segment-' || (i + n) % 101) AS segments,
    {'city': ['Zürich', 'Bern', 'Genève', NULL][1 + i % 4], 'latitude': random() * 180 - 90,
     'longitude': random() * 360 - 180} AS place,
    i AS sequence,
    i % 2 = 0 AS loggedIn
FROM range({rows}) AS r(i)
"""

Case = Callable[[Path, Path], None]


def _offtake(file_type: str, compression: str) -> Case:
    def run(source: Path, target: Path) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - each case loads only what it uses

        from offtake.formats.registry import format_for  # noqa: PLC0415 - as above

        rows = pq.ParquetFile(source, pre_buffer=False)
        with target.open("wb") as file:
            file.writelines(format_for(file_type, compression).encode(rows.schema_arrow, rows.iter_batches(8192), 1))

    return run


def _polars_json(source: Path, target: Path) -> None:
    import polars as pl  # noqa: PLC0415 - as above

    pl.scan_parquet(source).sink_ndjson(target, compression="gzip")


def _polars_parquet(codec: Literal["gzip", "uncompressed"]) -> Case:
    def run(source: Path, target: Path) -> None:
        import polars as pl  # noqa: PLC0415 - as above

        pl.scan_parquet(source).sink_parquet(target, compression=codec)

    return run


def _duckdb(options: str) -> Case:
    def run(source: Path, target: Path) -> None:
        import duckdb  # noqa: PLC0415 - as above

        duckdb.sql("SET enable_progress_bar = false")
        duckdb.sql(f"COPY (FROM '{source}') TO '{target}' ({options})")

    return run


def _pyarrow_json(source: Path, target: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    with gzip.open(target, "wt", compresslevel=1, encoding="utf-8") as file:
        for batch in pq.ParquetFile(source).iter_batches(8192):
            file.writelines(json.dumps(row, default=str) + "\n" for row in batch.to_pylist())


def _pyarrow_parquet(codec: str) -> Case:
    def run(source: Path, target: Path) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - as above

        pq.write_table(pq.read_table(source), target, compression=codec)

    return run


_CASES: Final[dict[str, dict[str, Case]]] = {
    "JSON GZIP": {
        "offtake": _offtake("JSON", "GZIP"),
        "Polars": _polars_json,
        "DuckDB": _duckdb("FORMAT json, COMPRESSION gzip"),
        "pyarrow + json": _pyarrow_json,
    },
    "PARQUET GZIP": {
        "offtake": _offtake("PARQUET", "GZIP"),
        "Polars": _polars_parquet("gzip"),
        "DuckDB": _duckdb("FORMAT parquet, COMPRESSION gzip"),
        "pyarrow": _pyarrow_parquet("gzip"),
    },
    "PARQUET NONE": {
        "offtake": _offtake("PARQUET", "NONE"),
        "Polars": _polars_parquet("uncompressed"),
        "DuckDB": _duckdb("FORMAT parquet, COMPRESSION uncompressed"),
        "pyarrow": _pyarrow_parquet("none"),
    },
}


@dataclass(frozen=True)
class Measured:
    """What one case took: seconds of wall and CPU, peak resident MB, MB written."""

    wall: float
    cpu: float
    peak: float
    size: float


def _make_rows(path: Path, rows: int) -> float:
    """Write the rows and tell their Arrow bytes in MB; in a process of its own, so that the parent stays small."""
    script = (
        "import sys, duckdb, pyarrow.parquet as pq\n"
        "duckdb.sql('SET enable_progress_bar = false; SELECT setseed(0.5)').fetchall()\n"
        "duckdb.sql(f\"COPY ({sys.argv[1]}) TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)\")\n"
        "print(sum(batch.nbytes for batch in pq.ParquetFile(sys.argv[2]).iter_batches(8192)) / 1e6)"
    )
    command = [sys.executable, "-c", script, _EVENTS.replace("{rows}", str(rows)), str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure(group: str, name: str, source: Path, target: Path) -> Measured:
    command = [sys.executable, "-m", "bench.formats", "--case", group, name, str(source), str(target)]
    started = time.perf_counter()
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - started
    cpu, peak = json.loads(finished.stdout)
    return Measured(wall, cpu, peak, target.stat().st_size / 1e6)


def _run_case(group: str, name: str, source: Path, target: Path) -> None:
    _CASES[group][name](source, target)
    times = os.times()
    # The kernel's own peak of this process alone; getrusage would tell the parent's too.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1000
    print(json.dumps([times.user + times.system, peak]))


def _compare(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "events.parquet")
        arrow = _make_rows(source, rows)
        print(f"{rows:,} rows, {arrow:,.0f} MB of Arrow, {source.stat().st_size / 1e6:,.0f} MB of zstd Parquet")
        for group, cases in _CASES.items():
            print(f"\n{group:<16}{'rows/s':>10}{'MB/s':>7}{'wall s':>8}{'CPU s':>8}{'RSS MB':>8}{'MB':>8}{'time':>8}")
            ours = 0.0
            for name in cases:
                target = Path(folder, "out")
                took = _measure(group, name, source, target)
                target.unlink()
                ours = ours or took.wall
                speed = f"{rows / took.wall:>10,.0f}{arrow / took.wall:>7.0f}{took.wall:>8.2f}{took.cpu:>8.2f}"
                print(f"{name:<16}{speed}{took.peak:>8.0f}{took.size:>8.1f}{took.wall / ours:>7.2f}x", flush=True)


def main() -> None:
    """Compare, or run the one case that the comparing process asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.formats", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is None:
        return _compare(arguments.rows)
    group, name, source, target = arguments.case
    return _run_case(group, name, Path(source), Path(target))


if __name__ == "__main__":
    main()
