"""Spark on this machine alone, a thread a core. Rows' times are written in UTC, so that they can be compared."""

import os
import sys

from pyspark.sql import SparkSession


def main(case: str, source: str, target: str) -> None:
    """Write the case's output."""
    spark = (
        SparkSession.builder.master(f"local[{os.cpu_count()}]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    rows = spark.read.parquet(source).write.mode("overwrite")
    codec = "none" if case == "parquet-none" else "gzip"
    if case == "json-gzip":
        rows.option("compression", codec).json(target)
    else:
        rows.option("compression", codec).parquet(target)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
