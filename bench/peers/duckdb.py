"""DuckDB: COPY … TO one file."""

import sys

import duckdb

OPTIONS = {
    "json-gzip": "FORMAT json, COMPRESSION gzip",
    "parquet-gzip": "FORMAT parquet, COMPRESSION gzip",
    "parquet-none": "FORMAT parquet, COMPRESSION uncompressed",
}


def main(case: str, source: str, target: str) -> None:
    """Write the case's output."""
    name = "events.json.gz" if case == "json-gzip" else "events.parquet"
    duckdb.sql("SET enable_progress_bar = false")
    duckdb.sql(f"COPY (FROM '{source}/*.parquet') TO '{target}/{name}' ({OPTIONS[case]})")


if __name__ == "__main__":
    main(*sys.argv[1:])
