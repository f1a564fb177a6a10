"""Structs, lists and maps whose children change: rebuilt around them, or returned as they are.

Only what the array itself holds is looked at: not what lies before or behind a slice, and not what a null covers.
"""

from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

Change = Callable[[pa.Array], pa.Array]
_FEW: Final = 8


def change_struct(array: pa.Array, change: Change) -> pa.Array:
    """A struct with changed fields."""
    children = array.flatten()
    changed = [change(child) for child in children]
    if _same(children, changed):
        return array
    fields = [pa.field(array.type.field(index).name, child.type) for index, child in enumerate(changed)]
    return pa.StructArray.from_arrays(changed, fields=fields, mask=_mask(array))


def change_list(array: pa.Array, change: Change) -> pa.Array:
    """A list with changed elements."""
    elements = array.flatten()
    changed = change(elements)
    if changed is elements:
        return array
    return pa.ListArray.from_arrays(_offsets(array), changed, mask=_mask(array))


def change_map(array: pa.Array, change: Change) -> pa.Array:
    """A map with keys that are text and differ within each map, and changed values.

    Of values with the same key the last one stays, as Parquet's rules for maps have it.
    """
    lists = array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))
    keys, items = lists.flatten().flatten()
    texts, changed = _key_text(keys, change), change(items)
    repeated = _repeated(lists, texts)
    if texts is keys and changed is items and repeated is None:
        return array
    if repeated is None:
        return pa.MapArray.from_arrays(_offsets(lists), texts, changed, mask=_mask(array))
    return _without_repeated(lists, texts, changed, repeated)


def _key_text(keys: pa.Array, change: Change) -> pa.Array:
    kind = keys.type
    # A key must not become null, as NaN would.
    changed = keys if pa.types.is_floating(kind) else change(keys)
    if pa.types.is_string(changed.type):
        return changed
    text = pc.cast(changed, pa.string())
    if not pa.types.is_temporal(kind):
        return text
    # As the encoder writes values: a T between date and time, a fraction of 3, 6 or 9 digits or none.
    return pc.replace_substring_regex(pc.replace_substring(text, " ", "T"), r"\.?(?:000)+(Z?)$", r"\1")


def _repeated(lists: pa.Array, keys: pa.Array) -> pa.Array | None:
    """For each entry a number that entries of the same map and key share, or None when no two share one."""
    if _differ_surely(lists, keys):
        return None
    encoded = pc.dictionary_encode(keys)
    codes, most = encoded.indices.cast(pa.int64()), len(encoded.dictionary)
    if most == len(keys):
        return None
    owners = pc.list_parent_indices(lists).cast(pa.int64())
    entries = pc.add(pc.multiply(owners, most), codes)
    return None if pc.count_distinct(entries).as_py() == len(keys) else entries


def _differ_surely(lists: pa.Array, keys: pa.Array) -> bool:
    """Whether no map has a key twice, of small maps; comparing entries with the next few is quicker than numbering."""
    most = pc.max(pc.list_value_length(lists)).as_py() or 0
    if most > _FEW:
        return False
    owners = pc.list_parent_indices(lists)
    for step in range(1, most):
        same_owner = pc.equal(owners[step:], owners[:-step])
        if pc.any(pc.and_(same_owner, pc.equal(keys[step:], keys[:-step]))).as_py():
            return False
    return True


def _without_repeated(lists: pa.Array, keys: pa.Array, items: pa.Array, entries: pa.Array) -> pa.Array:
    numbered = pa.table({"entry": entries, "position": pa.arange(0, len(entries))})
    last = numbered.group_by("entry", use_threads=False).aggregate([("position", "max")])
    kept = pc.is_in(pa.arange(0, len(entries)), value_set=last["position_max"].combine_chunks())
    offsets = _sums(kept.cast(pa.int32())).take(_offsets(lists))
    return pa.MapArray.from_arrays(offsets, keys.filter(kept), items.filter(kept), mask=_mask(lists))


def _offsets(array: pa.Array) -> pa.Array:
    return _sums(pc.fill_null(pc.list_value_length(array), 0))


def _sums(lengths: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _same(one: list[pa.Array], other: list[pa.Array]) -> bool:
    return all(before is after for before, after in zip(one, other, strict=True))
