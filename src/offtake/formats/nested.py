"""Structs, lists and maps whose children change: rebuilt around them, or returned as they are.

Only what the array itself holds is looked at: not what lies before or behind a slice, and not what a null covers.
"""

from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from offtake.formats.losses import NULL_ENTRY, REPEATED_KEY, LossKind

_FEW: Final = 8


class Change(Protocol):
    """Brings an array into another form, and counts what that leaves out."""

    def __call__(self, array: pa.Array, /) -> pa.Array:
        """The array in the other form, or itself where nothing changes."""
        ...

    def count(self, kind: LossKind, count: int) -> None:
        """Count so many values that are left out."""
        ...


def change_struct(array: pa.Array, change: Change) -> pa.Array:
    """A struct with changed fields."""
    children = array.flatten()
    changed = [change(child) for child in children]
    if _same(children, changed):
        return array
    fields = [pa.field(array.type.field(index).name, child.type) for index, child in enumerate(changed)]
    return pa.StructArray.from_arrays(changed, fields=fields, mask=mask(array))


def change_list(array: pa.Array, change: Change) -> pa.Array:
    """A list with changed elements."""
    inside = elements(array)
    changed = change(inside)
    if changed is inside:
        return array
    return pa.ListArray.from_arrays(offsets(array), changed, mask=mask(array))


def change_map(array: pa.Array, change: Change) -> pa.Array:
    """A map with keys that are text and differ within each map, and changed values.

    Of values with the same key the last one stays, as Parquet's rules for maps have it. Entries with a null value stay
    for the encoder to leave out; both are counted, an entry once.
    """
    lists = as_lists(array)
    keys, items = elements(lists).flatten()
    texts = _key_text(keys, change)
    repeated = _repeated(lists, texts)
    if repeated is None:
        change.count(NULL_ENTRY, items.null_count)
        changed = change(items)
        if texts is keys and changed is items:
            return array
        return pa.MapArray.from_arrays(offsets(lists), texts, changed, mask=mask(array))
    # Before the values change, so that nothing is counted of those that go.
    kept = _last_of_each(repeated)
    starts = _sums(kept.cast(pa.int32())).take(offsets(lists))
    left = items.filter(kept)
    change.count(REPEATED_KEY, len(items) - len(left))
    change.count(NULL_ENTRY, left.null_count)
    return pa.MapArray.from_arrays(starts, texts.filter(kept), change(left), mask=mask(array))


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


def _last_of_each(entries: pa.Array) -> pa.Array:
    """For each entry whether it is the last with its number."""
    numbered = pa.table({"entry": entries, "position": pa.arange(0, len(entries))})
    last = numbered.group_by("entry", use_threads=False).aggregate([("position", "max")])
    return pc.is_in(pa.arange(0, len(entries)), value_set=last["position_max"].combine_chunks())


def as_lists(array: pa.Array) -> pa.Array:
    """Maps as lists of structs of a key and an item."""
    return array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))


def elements(array: pa.Array) -> pa.Array:
    """The elements of all lists that are not null, in order."""
    if array.null_count == len(array):
        # Of nothing, Arrow would make a new array, which it cannot where there are UUIDs.
        return array.values.slice(0, 0)
    return array.flatten()


def offsets(array: pa.Array) -> pa.Array:
    """Where each list's or map's elements begin in the flattened array, and where the last one's end."""
    return _sums(pc.fill_null(pc.list_value_length(array), 0))


def mask(array: pa.Array) -> pa.Array | None:
    """Which values are null; None when no value is."""
    return array.is_null() if array.null_count else None


def _sums(lengths: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])


def _same(one: list[pa.Array], other: list[pa.Array]) -> bool:
    return all(before is after for before, after in zip(one, other, strict=True))
