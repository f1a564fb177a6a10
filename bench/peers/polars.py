"""Polars: its streaming engine's sinks."""

import sys
from pathlib import Path

import polars as pl


def main(case: str, source: str, target: str, level: str = "") -> None:
    """Write the case's output; at its own default level, unless one is named."""
    own = int(level) if level else None
    rows = pl.scan_parquet(sorted(Path(source).glob("*.parquet")))
    if case == "json-gzip":
        rows.sink_ndjson(Path(target, "events.json.gz"), compression="gzip", compression_level=own)
    elif case == "parquet-gzip":
        rows.sink_parquet(Path(target, "events.parquet"), compression="gzip", compression_level=own)
    else:
        rows.sink_parquet(Path(target, "events.parquet"), compression="uncompressed")


if __name__ == "__main__":
    main(*sys.argv[1:])
