"""DataFusion: COPY … TO a folder. Its Parquet is zstd unless a codec is named.

Gzip has to be given a level there: 6, which is its JSON's own.
"""

import sys

from datafusion import SessionContext

FORMATS = {
    "json-gzip": "STORED AS JSON OPTIONS ('format.compression' 'gzip', 'format.compression_level' '{level}')",
    "parquet-gzip": "STORED AS PARQUET OPTIONS ('format.compression' 'gzip({level})')",
    "parquet-none": "STORED AS PARQUET OPTIONS ('format.compression' 'uncompressed')",
}


def main(case: str, source: str, target: str, level: str = "6") -> None:
    """Write the case's output."""
    context = SessionContext()
    context.register_parquet("events", source)
    context.sql(f"COPY events TO '{target}/' {FORMATS[case].format(level=level)}").collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
