"""pyarrow: a dataset written as another, batch by batch. It has no writer of JSON."""

import sys

import pyarrow.dataset as ds


def main(case: str, source: str, target: str, level: str = "") -> None:
    """Write the case's output; at its own default level, unless one is named."""
    form = ds.ParquetFileFormat()
    codec = {"parquet-gzip": "gzip", "parquet-none": "none"}[case]
    options = form.make_write_options(compression=codec, compression_level=int(level) if level else None)
    rows = ds.dataset(source, format="parquet")
    ds.write_dataset(rows, target, format=form, file_options=options, existing_data_behavior="overwrite_or_ignore")


if __name__ == "__main__":
    main(*sys.argv[1:])
