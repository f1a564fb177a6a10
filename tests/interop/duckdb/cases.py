"""Tables that DuckDB writes: what the docs say of each, its columns, and statements that make a snapshot each."""

MAPS = ("p",)
"""Columns that are maps; Python has dictionaries for them, and for structs."""
TYPES = (
    "id BIGINT, a BOOLEAN, b INTEGER, d FLOAT, e DOUBLE, f DECIMAL(9,2), g DECIMAL(38,10), i DATE, j TIMESTAMPTZ, "
    "k TIMESTAMP, l VARCHAR, m BLOB, n STRUCT(x INTEGER, y VARCHAR[]), o INTEGER[], p MAP(VARCHAR, DOUBLE), q TIME, "
    "r UUID"
)
CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "duckdb_changes": (
        "`INSERT`, `DELETE`, `UPDATE`",
        "id BIGINT, v INTEGER, k VARCHAR",
        (
            "INSERT INTO {t} VALUES (1, 0, 'a'), (2, 0, 'b'), (3, 0, null)",
            "INSERT INTO {t} SELECT range, 0, 'k' FROM range(10, 20)",
            "DELETE FROM {t} WHERE id IN (2, 11)",
            "UPDATE {t} SET v = 1 WHERE id IN (1, 12)",
            "INSERT INTO {t} VALUES (30, 0, 'c')",
            "UPDATE {t} SET v = v + 1 WHERE id > 11",
            "DELETE FROM {t} WHERE id < 15",
        ),
    ),
    "duckdb_types": (
        "all types that DuckDB writes",
        TYPES,
        (
            (
                "INSERT INTO {t} VALUES (1, true, 2147483647, 'NaN', '-Infinity', 9999999.99, "
                "9999999999999999999999999999.0123456789, '9999-12-31', '2024-01-01 00:00:00.000001+00', "
                "'1969-12-31 23:59:59.999999', 'ü 𝄞', '\\x00\\xFF'::BLOB, {{'x': 1, 'y': ['', null]}}, [1, null], "
                "MAP {{'k': 0.5}}, '23:59:59.999999', '00000000-0000-4000-8000-0000000000ff')"
            ),
            (
                "INSERT INTO {t} VALUES (2, false, -2147483648, -0.0, 5e-324, 0, 0, '0001-01-01', "
                "'0001-01-01 00:00:00+00', '9999-12-31 23:59:59.999999', '', ''::BLOB, null, [], MAP {{}}, '00:00:00', "
                "'ffffffff-ffff-ffff-ffff-ffffffffffff')"
            ),
            f"INSERT INTO {{t}} VALUES (3{', null' * 16})",
        ),
    ),
}
