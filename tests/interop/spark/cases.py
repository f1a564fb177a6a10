"""Tables that Spark writes, one function a table: each statement that writes makes a snapshot.

Rows differ by `id`, and each change of a row changes its `v`: so that a row tells which snapshot wrote it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

DELETES = ("delete", "update", "merge")


@dataclass
class Writer:
    """Spark's session and the table that is written. `run` replaces `{t}` and `{name}` by the table's names."""

    spark: Any
    catalog: str
    name: str
    version: int
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return f"{self.catalog}.{self.name}"

    def run(self, statement: str) -> Any:
        return self.spark.sql(statement.replace("{t}", self.table).replace("{name}", self.name))

    def call(self, procedure: str, arguments: str = "") -> Any:
        return self.run(f"CALL {self.catalog}.system.{procedure}(table => '{{name}}'{arguments and ', ' + arguments})")

    def create(self, columns: str, partitions: str = "", **properties: str) -> None:
        self.properties |= properties
        pairs = {"format-version": str(self.version), **self.properties}
        listed = ", ".join(f"'{name.replace('_', '.')}' = '{value}'" for name, value in pairs.items())
        by = f"PARTITIONED BY ({partitions})" if partitions else ""
        self.run(f"CREATE TABLE {{t}} ({columns}) USING iceberg {by} TBLPROPERTIES ({listed})")

    def rows(self, first: int, count: int, v: int = 0) -> None:
        """Insert rows of the columns id, v and k."""
        values = ", ".join(f"({one}, {v}, 'k{one % 3}')" for one in range(first, first + count))
        self.run(f"INSERT INTO {{t}} VALUES {values}")

    def snapshot(self) -> int:
        """The current snapshot of the main branch."""
        found = self.run("SELECT snapshot_id FROM {t}.refs WHERE name = 'main'").collect()
        number: int = found[0][0]
        return number

    @property
    def iceberg(self) -> Any:
        """The table in Iceberg's Java API."""
        return self.spark._jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(  # noqa: SLF001
            self.spark._jsparkSession,  # noqa: SLF001
            self.table,
        )


SIMPLE = "id bigint, v int, k string"


def append(to: Writer) -> None:
    to.create(SIMPLE)
    for first in (1, 4, 7):
        to.rows(first, 3)


def overwrite(to: Writer) -> None:
    to.create(SIMPLE)
    to.rows(1, 4)
    to.run("INSERT OVERWRITE {t} VALUES (1, 1, 'k1'), (9, 1, 'k0')")
    to.rows(20, 2)
    to.run("INSERT OVERWRITE {t} VALUES (30, 0, 'k0')")


def dynamic_overwrite(to: Writer) -> None:
    to.create(SIMPLE, "k")
    to.rows(1, 6)
    to.run("INSERT OVERWRITE {t} VALUES (101, 1, 'k1'), (102, 1, 'k1')")
    to.rows(200, 3)
    to.spark.sql("SELECT CAST(300 AS bigint) id, 0 v, 'k2' k").writeTo(to.table).overwritePartitions()


def replace_by_empty(to: Writer) -> None:
    """The last metadata has snapshots, but no current one."""
    to.create(SIMPLE)
    to.rows(1, 3)
    to.run(f"CREATE OR REPLACE TABLE {{t}} (id bigint) USING iceberg TBLPROPERTIES ('format-version' = '{to.version}')")


def replace_table(to: Writer) -> None:
    to.create(SIMPLE)
    to.rows(1, 3)
    to.run(
        f"CREATE OR REPLACE TABLE {{t}} USING iceberg TBLPROPERTIES ('format-version' = '{to.version}') AS "
        "SELECT CAST(50 AS bigint) id, 'other' w"
    )
    to.run("INSERT INTO {t} VALUES (51, 'more')")


def _changes(mode: str, partitions: str = "", **properties: str) -> Callable[[Writer], None]:
    def write(to: Writer) -> None:
        modes = {f"write_{kind}_mode": mode for kind in DELETES}
        to.create(SIMPLE, partitions, **modes, **properties)
        to.rows(1, 9)
        to.rows(10, 3)
        to.run("DELETE FROM {t} WHERE id IN (2, 11)")
        to.run("UPDATE {t} SET v = v + 1 WHERE id IN (3, 10)")
        to.rows(20, 2)
        to.run(
            "MERGE INTO {t} USING (SELECT * FROM VALUES (4, 9), (20, 9), (40, 9) AS s(id, v)) s ON {t}.id = s.id "
            "WHEN MATCHED AND s.id = 20 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v "
            "WHEN NOT MATCHED THEN INSERT (id, v, k) VALUES (s.id, s.v, 'new')"
        )
        to.run("DELETE FROM {t} WHERE id = 4")
        to.rows(50, 1)

    return write


def delete_partitions(to: Writer) -> None:
    to.create(SIMPLE, "k")
    to.rows(1, 6)
    to.run("DELETE FROM {t} WHERE k = 'k1'")
    to.rows(10, 3)
    to.run("TRUNCATE TABLE {t}")
    to.rows(20, 2)


def not_matched_by_source(to: Writer) -> None:
    to.create(SIMPLE, **{f"write_{kind}_mode": "merge-on-read" for kind in DELETES})
    to.rows(1, 6)
    to.run(
        "MERGE INTO {t} USING (SELECT * FROM VALUES (1), (2) AS s(id)) s ON {t}.id = s.id "
        "WHEN MATCHED THEN UPDATE SET v = 7 WHEN NOT MATCHED BY SOURCE AND {t}.id < 5 THEN DELETE"
    )
    to.rows(10, 2)


MERGE_ON_READ = {f"write_{kind}_mode": "merge-on-read" for kind in DELETES}
COPY_ON_WRITE = {f"write_{kind}_mode": "copy-on-write" for kind in DELETES}


def partition_evolution(to: Writer) -> None:
    to.create("id bigint, v int, s string, d date, at timestamp", "bucket(4, id)", **MERGE_ON_READ)

    def rows(first: int) -> None:
        values = ", ".join(
            f"({one}, 0, 'text {one}', DATE '2024-02-{one % 28 + 1:02}', TIMESTAMP '2024-02-28 {one % 24:02}:30:00')"
            for one in range(first, first + 4)
        )
        to.run(f"INSERT INTO {{t}} VALUES {values}")

    rows(1)
    for number, change in enumerate(
        (
            "ADD PARTITION FIELD truncate(3, s)",
            "REPLACE PARTITION FIELD bucket(4, id) WITH bucket(3, id)",
            "ADD PARTITION FIELD days(d)",
            "ADD PARTITION FIELD hours(at)",
            "DROP PARTITION FIELD truncate(3, s)",
            "ADD PARTITION FIELD v",
            "REPLACE PARTITION FIELD days(d) WITH months(d) AS by_month",
        )
    ):
        to.run(f"ALTER TABLE {{t}} {change}")
        rows(10 * (number + 1))
    to.run("DELETE FROM {t} WHERE id % 5 = 1")
    to.run("UPDATE {t} SET v = 5 WHERE id IN (2, 12, 33)")
    to.run("INSERT OVERWRITE {t} SELECT id, 9, s, d, at FROM {t} WHERE id < 12")


def identity_partitions(to: Writer) -> None:
    """Partition columns of every type that Spark can partition by, with values that paths escape."""
    to.create(
        "id bigint, a string, b date, c int, d boolean, e decimal(9,2), f timestamp, g binary, h float, "
        "i timestamp_ntz",
        "a, b, c, d, e, f, g, h, i",
    )
    to.run(
        "INSERT INTO {t} VALUES "
        "(1, 'a/b', DATE '1969-12-31', -1, true, 1.50, TIMESTAMP '1969-12-31 23:59:59.999999', X'00FF', 1.5, "
        "TIMESTAMP_NTZ '2024-01-01 00:00:00.000001'), "
        "(2, 'ü %C3 #?', DATE '2024-02-29', 0, false, -0.01, TIMESTAMP '2024-02-29 12:00:00', X'', -0.0, "
        "TIMESTAMP_NTZ '1900-01-01 00:00:00'), "
        "(3, '', DATE '0001-01-01', 2147483647, true, 0.00, TIMESTAMP '2024-01-01 00:00:00', X'41', 3.4e38, "
        "TIMESTAMP_NTZ '2024-01-01 00:00:00')"
    )
    to.run("INSERT INTO {t} VALUES (4, null, null, null, null, null, null, null, null, null)")
    to.run("INSERT INTO {t} SELECT id + 10, a, b, c, d, e, f, g, h, i FROM {t}")


def schema_evolution(to: Writer) -> None:
    to.create("id bigint, v int, f float, m decimal(5,2), s struct<x: int, y: string>, l array<struct<p: int>>")
    to.run("INSERT INTO {t} VALUES (1, 1, 1.5, 1.25, named_struct('x', 1, 'y', 'one'), array(named_struct('p', 1)))")
    to.run("ALTER TABLE {t} ADD COLUMN added string")
    to.run(
        "INSERT INTO {t} VALUES (2, 2, 2.5, 2.25, named_struct('x', 2, 'y', 'two'), array(named_struct('p', 2)), 'new')"
    )
    to.run("ALTER TABLE {t} RENAME COLUMN v TO w")
    to.run("ALTER TABLE {t} ALTER COLUMN w TYPE bigint")
    to.run("ALTER TABLE {t} ALTER COLUMN f TYPE double")
    to.run("ALTER TABLE {t} ALTER COLUMN m TYPE decimal(12,2)")
    to.run("ALTER TABLE {t} ALTER COLUMN added FIRST")
    to.run("ALTER TABLE {t} ADD COLUMN s.z date AFTER x")
    to.run("ALTER TABLE {t} ADD COLUMN l.element.q string")
    to.run(
        "INSERT INTO {t} VALUES ('a', 3, 30000000000, 3.5, 3333333333.25, named_struct('x', 3, 'z', DATE '2024-03-03', "
        "'y', 'three'), array(named_struct('p', 3, 'q', 'q3')))"
    )
    to.run("ALTER TABLE {t} RENAME COLUMN s.y TO yy")
    to.run("ALTER TABLE {t} DROP COLUMN added")
    to.run("ALTER TABLE {t} DROP COLUMN l.element.p")
    to.run(
        "INSERT INTO {t} VALUES (4, 4, 4.5, 4, named_struct('x', 4, 'z', null, 'yy', 'four'), "
        "array(named_struct('q', 'q4'), null))"
    )
    to.run("ALTER TABLE {t} ADD COLUMN added int")
    to.run("INSERT INTO {t} VALUES (5, 5, 5.5, 5, null, null, 55)")


def maps_and_lists(to: Writer) -> None:
    to.create("id bigint, m map<string, struct<a: int>>, l array<array<int>>, n struct<s: struct<t: array<string>>>")
    to.run(
        "INSERT INTO {t} VALUES (1, map('x', named_struct('a', 1), 'y', null), array(array(1, null), null, array()), "
        "named_struct('s', named_struct('t', array('u', null))))"
    )
    to.run("INSERT INTO {t} VALUES (2, map(), array(), named_struct('s', null)), (3, null, null, null)")
    to.run("ALTER TABLE {t} ADD COLUMN m.value.b double")
    to.run(
        "INSERT INTO {t} VALUES (4, map('z', named_struct('a', 4, 'b', 4.5)), array(array(4)), "
        "named_struct('s', named_struct('t', array())))"
    )


def defaults(to: Writer) -> None:
    """Initial and write defaults, of format 3."""
    to.create("id bigint, s struct<x: int>")
    to.run("INSERT INTO {t} VALUES (1, named_struct('x', 1)), (2, null)")
    types, literal = _types(to), _literals(to)
    (
        to.iceberg.updateSchema()
        .addColumn("n", types.IntegerType.get(), literal(7))
        .addColumn("t", types.StringType.get(), literal("näh"))
        .addColumn("s", "y", types.LongType.get(), "", literal(8))
        .addColumn("d", types.DateType.get(), literal("2024-02-29").to(types.DateType.get()))
        .addColumn("e", types.DecimalType.of(9, 2), literal("1.50").to(types.DecimalType.of(9, 2)))
        .addColumn("f", types.DoubleType.get(), literal(1.5))
        .addColumn("b", types.BooleanType.get(), literal(True))
        .addColumn(
            "at",
            types.TimestampType.withZone(),
            literal("2024-02-29T12:00:00.000001+00:00").to(types.TimestampType.withZone()),
        )
        .addColumn("nothing", types.StringType.get())
        .commit()
    )
    to.run("REFRESH TABLE {t}")
    to.run("INSERT INTO {t} (id, s) VALUES (3, named_struct('x', 3, 'y', 3))")
    to.iceberg.updateSchema().updateColumnDefault("n", literal(70)).commit()
    to.run("REFRESH TABLE {t}")
    to.run("INSERT INTO {t} (id, s, t) VALUES (4, null, 'given')")
    to.run("ALTER TABLE {t} RENAME COLUMN n TO renamed")
    to.run("DELETE FROM {t} WHERE id = 1")
    to.run("INSERT INTO {t} (id, renamed) VALUES (5, null)")


def _types(to: Writer) -> Any:
    return to.spark._jvm.org.apache.iceberg.types.Types  # noqa: SLF001


def _literals(to: Writer) -> Callable[[Any], Any]:
    expressions = to.spark._jvm.org.apache.iceberg.expressions.Expressions  # noqa: SLF001
    found: Callable[[Any], Any] = expressions.lit
    return found


def _compaction(mode: Mapping[str, str]) -> Callable[[Writer], None]:
    def write(to: Writer) -> None:
        to.create(SIMPLE, **mode)
        for first in (1, 4, 7):
            to.rows(first, 3)
        to.run("DELETE FROM {t} WHERE id IN (2, 8)")
        to.call("rewrite_data_files", "options => map('min-input-files', '1', 'rewrite-all', 'true')")
        to.rows(20, 3)
        to.rows(30, 3)
        to.run("UPDATE {t} SET v = 1 WHERE id IN (4, 21)")
        to.call("rewrite_data_files", "where => 'id >= 20', options => map('min-input-files', '1')")
        to.rows(40, 2)
        to.call(
            "rewrite_data_files",
            "strategy => 'sort', sort_order => 'id DESC', "
            "options => map('min-input-files', '1', 'rewrite-all', 'true')",
        )
        to.call("rewrite_manifests")
        to.rows(50, 1)
        to.run("DELETE FROM {t} WHERE id = 41")

    return write


def zorder(to: Writer) -> None:
    to.create(SIMPLE, "k")
    to.rows(1, 9)
    to.rows(10, 9)
    to.call(
        "rewrite_data_files",
        "strategy => 'sort', sort_order => 'zorder(id, v)', options => map('rewrite-all', 'true')",
    )
    to.rows(30, 1)


def delete_compaction(to: Writer) -> None:
    to.create(SIMPLE, "k", **MERGE_ON_READ, write_delete_granularity="partition")
    to.rows(1, 12)
    for number in (2, 5, 7):
        to.run(f"DELETE FROM {{t}} WHERE id = {number}")
    to.call("rewrite_position_delete_files", "options => map('rewrite-all', 'true')")
    to.rows(20, 3)
    to.run("DELETE FROM {t} WHERE id IN (20, 1)")
    to.call("rewrite_position_delete_files", "options => map('rewrite-all', 'true')")


def manifests(to: Writer) -> None:
    to.create(SIMPLE, "k", **MERGE_ON_READ)
    for first in (1, 4, 7):
        to.rows(first, 3)
    to.run("DELETE FROM {t} WHERE id IN (1, 5)")
    to.call("rewrite_manifests")
    to.rows(10, 2)
    to.run("ALTER TABLE {t} SET TBLPROPERTIES ('commit.manifest.min-count-to-merge' = '1')")
    to.rows(20, 2)
    to.call("rewrite_manifests", "use_caching => false")
    to.rows(30, 2)


def expiry(to: Writer) -> None:
    to.create(SIMPLE, **MERGE_ON_READ)
    for first in (1, 4, 7):
        to.rows(first, 3)
    to.run("DELETE FROM {t} WHERE id IN (2, 4, 5, 6)")
    to.run("UPDATE {t} SET v = 1 WHERE id = 7")
    to.call("expire_snapshots", "older_than => TIMESTAMP '2999-01-01 00:00:00', retain_last => 3")
    to.rows(20, 2)
    to.call("rewrite_data_files", "options => map('min-input-files', '1', 'rewrite-all', 'true')")
    to.rows(30, 2)
    to.call("expire_snapshots", "older_than => TIMESTAMP '2999-01-01 00:00:00', retain_last => 3")
    to.rows(40, 2)


def rollback(to: Writer) -> None:
    to.create(SIMPLE)
    to.rows(1, 3)
    good = to.snapshot()
    to.rows(4, 3)
    later = to.snapshot()
    to.call("rollback_to_snapshot", f"snapshot_id => {good}")
    to.rows(7, 3)
    to.call("cherrypick_snapshot", f"snapshot_id => {later}")
    to.rows(10, 1)
    to.call("set_current_snapshot", f"snapshot_id => {later}")
    to.rows(20, 1)


def branches(to: Writer) -> None:
    to.create(SIMPLE, **MERGE_ON_READ)
    to.rows(1, 3)
    to.run("ALTER TABLE {t} CREATE TAG first")
    to.run("ALTER TABLE {t} CREATE BRANCH side")
    to.run("INSERT INTO {t}.branch_side VALUES (100, 0, 'side'), (101, 0, 'side')")
    to.rows(4, 3)
    to.run("DELETE FROM {t}.branch_side WHERE id = 1")
    to.run("ALTER TABLE {t} CREATE BRANCH ahead")
    to.run("INSERT INTO {t}.branch_ahead VALUES (200, 0, 'ahead')")
    to.run("INSERT INTO {t}.branch_ahead VALUES (201, 0, 'ahead')")
    to.call("fast_forward", "branch => 'main', to => 'ahead'")
    to.rows(7, 1)
    to.run("ALTER TABLE {t} CREATE TAG last")


def staged(to: Writer) -> None:
    """Write, audit, publish: by a WAP id, and by a WAP branch."""
    to.create(SIMPLE, write_wap_enabled="true")
    to.rows(1, 3)
    to.spark.conf.set("spark.wap.id", "audit")
    to.rows(4, 3)
    to.spark.conf.unset("spark.wap.id")
    to.rows(7, 3)
    to.call("publish_changes", "wap_id => 'audit'")
    to.spark.conf.set("spark.wap.branch", "audited")
    to.rows(10, 2)
    to.spark.conf.unset("spark.wap.branch")
    to.call("fast_forward", "branch => 'main', to => 'audited'")
    to.rows(20, 1)


TYPES = (
    "id bigint, a boolean, b int, c bigint, d float, e double, f decimal(9,2), g decimal(18,4), h decimal(38,10), "
    "i date, j timestamp, k timestamp_ntz, l string, m binary, n struct<x: int, y: array<string>>, "
    "o array<decimal(5,1)>, p map<string, double>, q map<int, array<timestamp>>"
)


def types(to: Writer) -> None:
    to.create(TYPES)
    to.run(
        "INSERT INTO {t} VALUES (1, true, 2147483647, 9223372036854775807, float('NaN'), double('-Infinity'), "
        "9999999.99, -99999999999999.9999, 9999999999999999999999999999.0123456789, DATE '9999-12-31', "
        "TIMESTAMP '9999-12-31 23:59:59.999999', TIMESTAMP_NTZ '0001-01-01 00:00:00', "
        "'z\u0000 ü 𝄞 \"quoted\"', X'00FF80', named_struct('x', 1, 'y', array('', null)), "
        "array(1.5, null, -0.1), map('', double('NaN')), map(1, array(TIMESTAMP '1969-12-31 23:59:59.999999')))"
    )
    to.run(
        "INSERT INTO {t} VALUES (2, false, -2147483648, -9223372036854775808, float('-0.0'), 5e-324D, 0, 0, 0, "
        "DATE '0001-01-01', TIMESTAMP '0001-01-01 00:00:00', TIMESTAMP_NTZ '9999-12-31 23:59:59.999999', '', X'', "
        "named_struct('x', null, 'y', null), array(), map(), map())"
    )
    to.run(f"INSERT INTO {{t}} VALUES (3{', null' * 17})")


def by_java(columns: Callable[[Any], list[Any]], insert: str) -> Callable[[Writer], None]:
    """A table whose types Spark's SQL cannot declare, made with Iceberg's Java API."""

    def write(to: Writer) -> None:
        jvm = to.spark._jvm  # noqa: SLF001
        fields = jvm.java.util.ArrayList()
        for one in columns(_types(to)):
            fields.add(one)
        schema = jvm.org.apache.iceberg.Schema(fields)
        catalog = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergCatalog(
            to.spark._jsparkSession,  # noqa: SLF001
            to.catalog,
        )
        named = jvm.org.apache.iceberg.catalog.TableIdentifier.parse(to.name)
        properties = jvm.java.util.HashMap()
        properties.put("format-version", str(to.version))
        spec = jvm.org.apache.iceberg.PartitionSpec.unpartitioned()
        catalog.createTable(named, schema, spec, properties)
        to.run(f"INSERT INTO {{t}} VALUES {insert}")
        to.run(f"INSERT INTO {{t}} VALUES {insert.replace('(1,', '(2,')}")

    return write


def uuid_and_fixed(types: Any) -> list[Any]:
    optional = types.NestedField.optional
    return [
        optional(1, "id", types.LongType.get()),
        optional(2, "u", types.UUIDType.get()),
        optional(3, "f", types.FixedType.ofLength(4)),
    ]


def odd_names(to: Writer) -> None:
    columns = ("with space", "dot.ted", "ünïcödé", 'quo"te', "1digit", "UPPER", "per%cent", "sla/sh", "tab\tx", "x=y")
    listed = ", ".join(f"`{name}` int" for name in columns)
    to.create(f"id bigint, {listed}, `s p` struct<`a b`: int, `c.d`: int>")
    values = ", ".join(str(number) for number in range(len(columns)))
    to.run(f"INSERT INTO {{t}} VALUES (1, {values}, named_struct('a b', 1, 'c.d', 2))")
    to.run("ALTER TABLE {t} RENAME COLUMN `with space` TO `other -> name`")
    to.run(f"INSERT INTO {{t}} VALUES (2, {values}, null)")


def odd_partitions(to: Writer) -> None:
    to.create("id bigint, `a b/ü` string, `x.y` int", "`a b/ü`, truncate(10, `x.y`)", **MERGE_ON_READ)
    to.run("INSERT INTO {t} VALUES (1, 'p q', 11), (2, 'p q', 12), (3, 'r/s', 25), (4, null, null)")
    to.run("DELETE FROM {t} WHERE id = 2")
    to.run("INSERT INTO {t} VALUES (5, '%20', 25)")


def _files(file_format: str, mode: Mapping[str, str]) -> Callable[[Writer], None]:
    def write(to: Writer) -> None:
        to.create(TYPES, write_format_default=file_format, **mode)
        types_values = (
            "true, {0}, {0}, {0}.5, {0}.25, {0}.5, {0}.0625, {0}, DATE '2024-01-0{0}', "
            "TIMESTAMP '2024-01-0{0} 12:00:00.000001', TIMESTAMP_NTZ '2024-01-0{0} 01:00:00', 'text {0}', X'0{0}', "
            "named_struct('x', {0}, 'y', array('a', null)), array({0}.5, null), map('k', {0}.5D), "
            "map({0}, array(TIMESTAMP '1969-12-31 23:59:59.999999'))"
        )
        to.run("INSERT INTO {t} VALUES " + ", ".join(f"({n}, {types_values.format(n)})" for n in (1, 2, 3)))
        to.run(f"INSERT INTO {{t}} VALUES (4{', null' * 17})")
        to.run("DELETE FROM {t} WHERE id = 2")
        to.run("ALTER TABLE {t} RENAME COLUMN b TO bb")
        to.run("ALTER TABLE {t} ADD COLUMN z int")
        to.run(f"INSERT INTO {{t}} VALUES (5, {types_values.format(5)}, 55)")

    return write


def mixed_files(to: Writer) -> None:
    to.create(SIMPLE, **MERGE_ON_READ)
    for number, kind in enumerate(("parquet", "orc", "avro")):
        to.run(f"ALTER TABLE {{t}} SET TBLPROPERTIES ('write.format.default' = '{kind}')")
        to.rows(number * 10, 3)
    to.run("DELETE FROM {t} WHERE id IN (1, 11, 21)")


def layout(to: Writer) -> None:
    """Options of writers that change files: other folders, hashed paths, metadata in gzip, no statistics."""
    to.create(
        SIMPLE,
        "k",
        **{
            "write.object-storage.enabled": "true",
            "write.data.path": f"s3://offtake-interop/{to.name.replace('.', '/')}/elsewhere/ü %41",
            "write.metadata.compression-codec": "gzip",
            "write.metadata.metrics.default": "none",
            "write.parquet.compression-codec": "gzip",
            "commit.manifest-merge.enabled": "false",
        },
        **MERGE_ON_READ,
    )
    to.rows(1, 6)
    to.run("DELETE FROM {t} WHERE id = 4")
    to.rows(10, 3)


def row_groups(to: Writer) -> None:
    """Files of several row groups, with deletes at their borders."""
    to.create(
        "id bigint, v int, pad string",
        **{"write.parquet.row-group-size-bytes": "1024", "write.parquet.row-group-check-min-record-count": "1"},
        **{"write.parquet.row-group-check-max-record-count": "10"},
        **MERGE_ON_READ,
    )
    to.run("INSERT INTO {t} SELECT id, 0, sha2(string(id), 256) FROM range(120)")
    to.run("DELETE FROM {t} WHERE id % 10 IN (0, 9)")
    to.run("DELETE FROM {t} WHERE id BETWEEN 30 AND 60")
    to.run("UPDATE {t} SET v = 1 WHERE id IN (1, 119, 118)")


def upgrade(to: Writer) -> None:
    """A table that began in format 1, and is now of format 2 or 3."""
    version, to.version = to.version, 1
    to.create(SIMPLE, **MERGE_ON_READ)
    to.rows(1, 4)
    to.run("ALTER TABLE {t} SET TBLPROPERTIES ('format-version' = '2')")
    to.rows(5, 4)
    to.run("DELETE FROM {t} WHERE id IN (2, 6)")
    if version == 3:
        to.run("ALTER TABLE {t} SET TBLPROPERTIES ('format-version' = '3')")
    to.rows(9, 4)
    to.run("DELETE FROM {t} WHERE id IN (3, 10)")
    to.run("UPDATE {t} SET v = 1 WHERE id IN (4, 5, 11)")
    to.call("rewrite_data_files", "options => map('min-input-files', '1', 'rewrite-all', 'true')")
    to.rows(20, 1)


def lineage(to: Writer) -> None:
    """Copy-on-write changes of files with rows that stay: row lineage tells which rows changed."""
    to.create(SIMPLE, **COPY_ON_WRITE)
    to.rows(1, 6)
    to.run("UPDATE {t} SET v = 1 WHERE id = 2")
    to.run("DELETE FROM {t} WHERE id = 3")
    to.rows(10, 3)
    to.call("rewrite_data_files", "options => map('min-input-files', '1', 'rewrite-all', 'true')")
    to.run("UPDATE {t} SET v = 2 WHERE id IN (2, 11)")


def equality_deletes(to: Writer) -> None:
    """As Flink writes them, with Iceberg's own writers: Spark only reads them."""
    to.create("id int, v int, k string", **MERGE_ON_READ)
    to.rows(1, 6)
    row_delta(to, [{"id": 2}, {"id": 9}])
    to.rows(9, 2)
    row_delta(to, [{"id": 3}, {"id": 9}], added=[{"id": 3, "v": 1, "k": "new"}, {"id": 9, "v": 1, "k": "new"}])
    row_delta(to, [{"id": 4, "k": "k1"}, {"id": 5, "k": "other"}])
    to.run("INSERT INTO {t} VALUES (20, 0, null), (21, null, 'k0'), (22, null, null)")
    row_delta(to, [{"k": None}])
    to.run("DELETE FROM {t} WHERE id = 10")
    to.run("ALTER TABLE {t} RENAME COLUMN k TO kk")
    row_delta(to, [{"kk": "k1"}])
    to.run("INSERT INTO {t} VALUES (30, 0, 'k1')")
    to.call("rewrite_data_files", "options => map('rewrite-all', 'true')")
    row_delta(to, [{"id": 30}], added=[{"id": 31, "v": 0, "kk": "last"}])


def equality_deletes_partitioned(to: Writer) -> None:
    """Deletes of one partition, and of all: those of the first spec, which is unpartitioned."""
    to.create("id int, v int, k string", **MERGE_ON_READ)
    to.rows(1, 3)
    to.run("ALTER TABLE {t} ADD PARTITION FIELD k")
    to.rows(4, 6)
    row_delta(to, [{"v": 0}], partition="k1")
    to.rows(10, 3)
    row_delta(to, [{"id": 2}, {"id": 6}])
    row_delta(to, [{"id": 11}, {"id": 12}], added=[{"id": 11, "v": 1, "k": "k2"}], partition="k2")
    to.rows(20, 3)


def row_delta(
    to: Writer, deleted: list[dict[str, Any]], added: list[dict[str, Any]] | None = None, partition: str | None = None
) -> None:
    """One commit: deletes of all older rows that have these values, and new rows. `partition`: the value of `k`."""
    gateway, table = to.spark.sparkContext._gateway, to.iceberg  # noqa: SLF001
    iceberg = to.spark._jvm.org.apache.iceberg  # noqa: SLF001
    names = gateway.new_array(to.spark._jvm.String, len(deleted[0]))  # noqa: SLF001
    ids = gateway.new_array(to.spark._jvm.int, len(deleted[0]))  # noqa: SLF001
    for number, name in enumerate(deleted[0]):
        names[number], ids[number] = name, table.schema().findField(name).fieldId()
    columns = table.schema().select(names)
    factory = iceberg.data.GenericFileWriterFactory.Builder(table).deleteFileFormat(iceberg.FileFormat.PARQUET)
    factory = factory.equalityFieldIds(ids).equalityDeleteRowSchema(columns).build()
    spec, key = table.specs().get(0), None
    if partition is not None:
        spec = table.spec()
        key = iceberg.PartitionData(spec.partitionType())
        key.set(0, partition)
    output = iceberg.encryption.EncryptedFiles.plainAsEncryptedOutput
    folder = f"{table.location()}/data/by-hand-{len(list(table.snapshots()))}"
    commit = table.newRowDelta()
    deletes = factory.newEqualityDeleteWriter(output(table.io().newOutputFile(f"{folder}-d.parquet")), spec, key)
    for row in deleted:
        deletes.write(record(to, columns, row))
    deletes.close()
    commit.addDeletes(deletes.toDeleteFile())
    if added:
        data = factory.newDataWriter(output(table.io().newOutputFile(f"{folder}.parquet")), spec, key)
        for row in added:
            data.write(record(to, table.schema(), row))
        data.close()
        commit.addRows(data.toDataFile())
    commit.commit()
    to.run("REFRESH TABLE {t}")


def record(to: Writer, schema: Any, row: dict[str, Any]) -> Any:
    made = to.spark._jvm.org.apache.iceberg.data.GenericRecord.create(schema)  # noqa: SLF001
    for name, value in row.items():
        made.setField(name, value)
    return made


def statistics(to: Writer) -> None:
    to.create(SIMPLE, "k")
    to.rows(1, 6)
    to.call("compute_table_stats")
    to.rows(10, 2)
    to.call("compute_partition_stats")
    to.rows(20, 1)


def empty(to: Writer) -> None:
    to.create(SIMPLE)
    to.run("INSERT INTO {t} SELECT CAST(1 AS bigint), 1, 'x' WHERE false")
    to.rows(1, 2)
    to.run("DELETE FROM {t} WHERE true")
    to.run("DELETE FROM {t} WHERE true")
    to.rows(5, 1)


def variant(to: Writer) -> None:
    to.create("id bigint, v variant")
    to.run("""INSERT INTO {t} SELECT 1, parse_json('{"a": 1}')""")
    to.run("INSERT INTO {t} SELECT 2, null")


def many_commits(to: Writer) -> None:
    """What a job of many small commits leaves: merged manifests."""
    to.create(SIMPLE, **{"commit.manifest.min-count-to-merge": "3"})
    for first in range(1, 9):
        to.rows(first, 1)


@dataclass(frozen=True)
class Case:
    """What the docs say of the table, the function that writes it, and the versions of the format."""

    feature: str
    write: Callable[[Writer], None]
    versions: tuple[int, ...] = (2, 3)


UUID_AND_FIXED = "(1, '00000000-0000-4000-8000-0000000000ff', X'00FF8001')"
CASES: dict[str, Case] = {
    "append": Case("`INSERT`", append, (1, 2, 3)),
    "many_commits": Case("many commits, merged manifests", many_commits),
    "empty": Case("empty appends, all rows deleted", empty),
    "overwrite": Case("`INSERT OVERWRITE`", overwrite, (1, 2, 3)),
    "dynamic_overwrite": Case("dynamic partition overwrite", dynamic_overwrite),
    "replace_table": Case("`CREATE OR REPLACE TABLE … AS SELECT`", replace_table),
    "replace_by_empty": Case("`CREATE OR REPLACE TABLE` without rows", replace_by_empty),
    "delete_partitions": Case("`DELETE` of whole partitions, `TRUNCATE`", delete_partitions),
    "copy_on_write": Case("`DELETE`, `UPDATE`, `MERGE`, copy-on-write", _changes("copy-on-write")),
    "copy_on_write_partitioned": Case("the same, partitioned", _changes("copy-on-write", "k")),
    "lineage": Case("copy-on-write and compaction, files with unchanged rows", lineage),
    "merge_on_read": Case("`DELETE`, `UPDATE`, `MERGE`, merge-on-read", _changes("merge-on-read")),
    "merge_on_read_partitioned": Case(
        "the same, partitioned, one delete file for each partition",
        _changes("merge-on-read", "k", write_delete_granularity="partition"),
    ),
    "not_matched_by_source": Case("`MERGE … WHEN NOT MATCHED BY SOURCE`, merge-on-read", not_matched_by_source),
    "equality_deletes": Case("equality deletes by Iceberg's own writers, as by Flink", equality_deletes),
    "equality_deletes_partitioned": Case(
        "equality deletes of one partition, and of the table", equality_deletes_partitioned
    ),
    "row_groups": Case("deletes, merge-on-read, in files of many row groups", row_groups),
    "partition_evolution": Case(
        "partition evolution: `bucket`, `truncate`, `days`, `hours`, `months`, identity; deletes", partition_evolution
    ),
    "identity_partitions": Case("identity partitions of all types, values that paths escape", identity_partitions),
    "odd_partitions": Case("partition columns with odd names, deletes", odd_partitions),
    "schema_evolution": Case("columns added, dropped, renamed, reordered, widened, nested ones too", schema_evolution),
    "defaults": Case("initial and write defaults", defaults, (3,)),
    "upgrade": Case("a table upgraded from format 1, with deletes of every format", upgrade),
    "types": Case("all types that Spark has, with extreme values", types),
    "maps_and_lists": Case("maps, lists and structs in each other, nulls at every depth", maps_and_lists),
    "uuid_and_fixed": Case("`uuid`, `fixed`", by_java(uuid_and_fixed, UUID_AND_FIXED)),
    "variant": Case("`variant`", variant, (3,)),
    "odd_names": Case("column names with spaces, dots, quotes, slashes", odd_names),
    "compaction_copy_on_write": Case("`rewrite_data_files`, `rewrite_manifests`", _compaction(COPY_ON_WRITE)),
    "compaction_merge_on_read": Case("the same, with deletes, merge-on-read", _compaction(MERGE_ON_READ)),
    "zorder": Case("`rewrite_data_files` by z-order, partitioned", zorder),
    "delete_compaction": Case("`rewrite_position_delete_files`", delete_compaction),
    "manifests": Case("`rewrite_manifests`, partitioned", manifests),
    "expiry": Case("`expire_snapshots`", expiry),
    "rollback": Case("`rollback_to_snapshot`, `set_current_snapshot`, `cherrypick_snapshot`", rollback),
    "branches": Case("branches, tags, `fast_forward`, deletes on a branch", branches),
    "staged": Case("write-audit-publish, by id and by branch", staged),
    "layout": Case("other data folder, hashed paths, metadata in gzip, no column statistics, deletes", layout),
    "statistics": Case("`compute_table_stats`, `compute_partition_stats`", statistics),
    "orc": Case("data files in ORC", _files("orc", COPY_ON_WRITE)),
    "orc_merge_on_read": Case("data files in ORC, deletes, merge-on-read", _files("orc", MERGE_ON_READ)),
    "avro": Case("data files in Avro", _files("avro", COPY_ON_WRITE)),
    "avro_merge_on_read": Case("data files in Avro, deletes, merge-on-read", _files("avro", MERGE_ON_READ)),
    "mixed_files": Case("data files in Parquet, ORC and Avro, deletes, merge-on-read", mixed_files),
}
