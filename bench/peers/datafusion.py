"""DataFusion: COPY … TO a folder. Its Parquet is zstd unless a codec is named; gzip has to be given a level, 6."""

import sys

from datafusion import SessionContext

FORMATS = {
    "json-gzip": "STORED AS JSON OPTIONS ('format.compression' 'gzip')",
    "parquet-gzip": "STORED AS PARQUET OPTIONS ('format.compression' 'gzip(6)')",
    "parquet-none": "STORED AS PARQUET OPTIONS ('format.compression' 'uncompressed')",
}


def main(case: str, source: str, target: str) -> None:
    """Write the case's output."""
    context = SessionContext()
    context.register_parquet("events", source)
    context.sql(f"COPY events TO '{target}/' {FORMATS[case]}").collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
