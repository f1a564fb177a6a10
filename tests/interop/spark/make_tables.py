"""Writes the tables of `cases` with Spark into an S3 server, and what Spark itself reads from each snapshot.

Runs in an environment with pyspark, not in that of the other tests: see `tests/interop/regenerate.sh`.
"""

import datetime
import decimal
import json
import math
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql.types import TimestampNTZType, TimestampType, VariantVal

from tests.interop.spark.cases import CASES, Writer

BUCKET = "offtake-interop"
EPOCH = datetime.datetime(1970, 1, 1)
ACCESS = "spark.sql.catalog.lake"


def session(jars: list[str], endpoint: str, folder: Path) -> Any:
    """A session with a catalog `lake` in SQLite, whose files are in the bucket."""
    found = SparkSession.builder.master("local[1]").config("spark.jars", ",".join(jars))
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:TieredStopAtLevel=1",
        # Compiling each query takes longer than interpreting it for so few rows.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.sources.partitionOverwriteMode": "dynamic",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        ACCESS: "org.apache.iceberg.spark.SparkCatalog",
        f"{ACCESS}.type": "jdbc",
        f"{ACCESS}.uri": f"jdbc:sqlite:{folder / 'catalog.db'}",
        f"{ACCESS}.jdbc.schema-version": "V1",
        f"{ACCESS}.cache-enabled": "false",
        f"{ACCESS}.warehouse": f"s3://{BUCKET}",
        f"{ACCESS}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{ACCESS}.s3.endpoint": endpoint,
        f"{ACCESS}.s3.path-style-access": "true",
        f"{ACCESS}.s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
        f"{ACCESS}.s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
        f"{ACCESS}.client.region": "us-east-1",
    }
    for name, value in settings.items():
        found = found.config(name, value)
    return found.getOrCreate()


def plain(value: Any) -> Any:  # noqa: PLR0911 - one line a type
    """A value as JSON, such that different values differ."""
    if isinstance(value, Row):
        return {name: plain(one) for name, one in value.asDict(recursive=False).items()}
    if isinstance(value, dict):
        return sorted(([plain(key), plain(one)] for key, one in value.items()), key=repr)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, VariantVal):
        return value.toJson()
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


class Recorder:
    """What Spark reads from each snapshot of a table, taken as soon as the snapshot exists."""

    def __init__(self, to: Writer) -> None:
        self._to = to
        self.snapshots: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []

    def take(self) -> None:
        """The snapshots since the last call."""
        known = {one["id"] for one in self.snapshots}
        try:
            listed = self._to.run("SELECT snapshot_id, parent_id, operation FROM {t}.snapshots").collect()
        except Exception as error:
            if "TABLE_OR_VIEW_NOT_FOUND" in str(error):
                return
            raise
        for number, parent, operation in listed:
            if number not in known:
                self.snapshots.append({"id": number, "parent": parent, "operation": operation, **self._rows(number)})

    def _rows(self, number: int) -> dict[str, Any]:
        files = self._to.run(
            "SELECT data_file.file_path, snapshot_id FROM {t}.all_entries WHERE status = 1 AND data_file.content = 0"
        ).collect()
        paths = {path for path, added_by in files if added_by == number}
        extra = ", _row_id, _last_updated_sequence_number" if self._to.version == 3 else ""
        rows, added, lineage = [], [], []
        for row in self._to.run(f"SELECT *, _file{extra} FROM {{t}} VERSION AS OF {number}").collect():
            values = row.asDict(recursive=False)
            path = values.pop("_file")
            if extra:
                lineage.append([values.pop("_row_id"), values.pop("_last_updated_sequence_number")])
            rows.append({name: plain(one) for name, one in values.items()})
            if path in paths:
                added.append(len(rows) - 1)
        return {"rows": rows, "added": added, **({"lineage": lineage} if extra else {})}

    def finish(self) -> dict[str, Any]:
        """The table as it is at the end."""
        refs = self._to.run("SELECT name, type, snapshot_id FROM {t}.refs").collect()
        location = self._to.iceberg.operations().current().metadataFileLocation()
        return {
            "metadata": location,
            "version": self._to.iceberg.operations().current().formatVersion(),
            "refs": {name: {"type": kind, "snapshot": number} for name, kind, number in refs},
            "snapshots": self.snapshots,
        }


class Recording(Writer):
    """A writer that records after each statement."""

    recorder: Recorder

    def run(self, statement: str) -> Any:
        found = super().run(statement)
        if not statement.startswith(("SELECT", "ALTER")):
            self.recorder.take()
        return found


def main() -> None:
    endpoint, folder, *jars = sys.argv[1:]
    only = set()
    if "--only" in jars:
        jars, only = jars[: jars.index("--only")], set(jars[jars.index("--only") + 1 :])
    # Spark's own conversion fails in the first and last year.
    for kind in (TimestampType, TimestampNTZType):
        kind.fromInternal = lambda _, found: None if found is None else EPOCH + datetime.timedelta(microseconds=found)
    spark = session(jars, endpoint, Path(folder))
    spark.sparkContext.setLogLevel("ERROR")
    spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.spark")
    failed = []
    for name, case in CASES.items():
        for version in case.versions:
            if only and name not in only:
                continue
            to = Recording(spark, "lake", f"spark.{name}_v{version}", version)
            to.recorder = Recorder(to)
            try:
                case.write(to)
                to.recorder.take()
                found = to.recorder.finish()
            except Exception:  # noqa: BLE001 - continues with the other tables
                traceback.print_exc()
                failed.append(to.name)
                continue
            found["spark"] = spark.version
            Path(folder, f"{name}_v{version}.json").write_text(json.dumps(found, ensure_ascii=False))
            print(to.name, len(found["snapshots"]), "snapshots", flush=True)
    print("FAILED:", *failed)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
