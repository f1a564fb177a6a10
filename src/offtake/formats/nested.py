"""Converting the children of structs, lists and maps: the array is rebuilt around them, or returned unchanged.

Values outside a slice and values hidden by a null are ignored.
"""

from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from offtake.formats.losses import NULL_ENTRY, REPEATED_KEY, LossKind

_FEW: Final = 8


class Change(Protocol):
    """Converts an array to another form, and counts the values that this omits."""

    def __call__(self, array: pa.Array, /) -> pa.Array:
        """The converted array, or the array itself when nothing changes."""
        ...

    def count(self, kind: LossKind, count: int) -> None:
        """Add `count` omitted values."""
        ...


def change_struct(array: pa.Array, change: Change) -> pa.Array:
    """The struct with converted fields."""
    children = array.flatten()
    changed = [change(child) for child in children]
    if _same(children, changed):
        return array
    fields = [pa.field(array.type.field(index).name, child.type) for index, child in enumerate(changed)]
    return pa.StructArray.from_arrays(changed, fields=fields, mask=mask(array))


def change_list(array: pa.Array, change: Change) -> pa.Array:
    """The list with converted elements."""
    inside = elements(array)
    changed = change(inside)
    if changed is inside:
        return array
    return pa.ListArray.from_arrays(offsets(array), changed, mask=mask(array))


def change_map(array: pa.Array, change: Change) -> pa.Array:
    """The map with unique text keys and converted values.

    Of entries with the same key the last one stays, as Parquet's specification requires. Entries with a null value
    stay, and the encoder omits them. Both kinds of omitted entries are counted, each entry once.
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
    # Before the values are converted, so that losses in removed entries are not counted.
    is_last = _last_of_each(repeated)
    starts = _sums(is_last.cast(pa.int32())).take(offsets(lists))
    remaining = items.filter(is_last)
    change.count(REPEATED_KEY, len(items) - len(remaining))
    change.count(NULL_ENTRY, remaining.null_count)
    return pa.MapArray.from_arrays(starts, texts.filter(is_last), change(remaining), mask=mask(array))


def _key_text(keys: pa.Array, change: Change) -> pa.Array:
    kind = keys.type
    # A key must not become null, as NaN would.
    changed = keys if pa.types.is_floating(kind) else change(keys)
    if pa.types.is_string(changed.type):
        return changed
    text = pc.cast(changed, pa.string())
    if not pa.types.is_temporal(kind):
        return text
    # The encoder's format for values: a T between date and time, no fraction or one with 3, 6 or 9 digits.
    return pc.replace_substring_regex(pc.replace_substring(text, " ", "T"), r"\.?(?:000)+(Z?)$", r"\1")


def _repeated(lists: pa.Array, keys: pa.Array) -> pa.Array | None:
    """For each entry a number that is equal for entries with the same map and key; None when all are distinct."""
    if _are_distinct_in_small_maps(lists, keys):
        return None
    encoded = pc.dictionary_encode(keys)
    codes, most = encoded.indices.cast(pa.int64()), len(encoded.dictionary)
    if most == len(keys):
        return None
    owners = pc.list_parent_indices(lists).cast(pa.int64())
    entries = pc.add(pc.multiply(owners, most), codes)
    return None if pc.count_distinct(entries).as_py() == len(keys) else entries


def _are_distinct_in_small_maps(lists: pa.Array, keys: pa.Array) -> bool:
    """Whether all maps are small and have distinct keys; comparing neighbours is faster than numbering entries."""
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
    """A mask of the entries that are the last ones with their number."""
    numbered = pa.table({"entry": entries, "position": pa.arange(0, len(entries))})
    last = numbered.group_by("entry", use_threads=False).aggregate([("position", "max")])
    return pc.is_in(pa.arange(0, len(entries)), value_set=last["position_max"].combine_chunks())


def as_lists(array: pa.Array) -> pa.Array:
    """The maps as lists of structs with a key and an item."""
    return array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))


def elements(array: pa.Array) -> pa.Array:
    """The elements of all lists that are not null, in order."""
    if array.null_count == len(array):
        # For an empty result, Arrow would build a new array, which fails for UUIDs.
        return array.values.slice(0, 0)
    return array.flatten()


def offsets(array: pa.Array) -> pa.Array:
    """The start of each list's or map's elements in the flattened array, and the end of the last one's."""
    return _sums(pc.fill_null(pc.list_value_length(array), 0))


def mask(array: pa.Array) -> pa.Array | None:
    """A mask of the null values; None when there are none."""
    return array.is_null() if array.null_count else None


def _sums(lengths: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])


def _same(one: list[pa.Array], other: list[pa.Array]) -> bool:
    return all(before is after for before, after in zip(one, other, strict=True))
