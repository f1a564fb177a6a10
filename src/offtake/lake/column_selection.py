"""Which columns of a file an export reads. Runs in worker processes: PyIceberg is not imported."""

from typing import Final

import pyarrow as pa

from offtake.lake.projection import ColumnNames

_FIELD_ID: Final = b"PARQUET:field_id"


def delivered_columns(file: pa.Schema, target: pa.Schema, names: ColumnNames) -> list[str] | None:
    """The names of the file's columns that have a column of the target, in the file's order; None for all columns.

    `names`: for a file without field ids. Also None when only some columns have ids, and when Arrow's paths, which join
    names by dots, could mean other columns too.
    """
    ids = [_field_id(field) for field in file]
    is_ambiguous = any("." in name for name in file.names) or len(set(file.names)) < len(file.names)
    if is_ambiguous or (any(ids) and not all(ids)):
        return None
    if not any(ids):
        ids = [names.id_of(name) for name in file.names]
    wanted = {_field_id(field) for field in target}
    found = [name for name, field_id in zip(file.names, ids, strict=True) if field_id in wanted]
    return found if 0 < len(found) < len(file.names) else None


def _field_id(field: pa.Field) -> int | None:
    found = (field.metadata or {}).get(_FIELD_ID)
    return None if found is None else int(found)
