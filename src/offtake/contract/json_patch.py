"""Changing a part of a document: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902).

The APIs of the contract accept different operations and name mistakes in different ways: see `Dialect`.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed, JsonPointerException
from jsonpointer import JsonPointer

from offtake.contract import problems
from offtake.contract.bodies import Json
from offtake.contract.problems import Problem

_REMOVE: Final = "remove"


@dataclass(frozen=True)
class Operation:
    """One step, the `number`-th: `op` in lower case, `path` a JSON pointer, `value` unless it removes."""

    op: str
    path: str
    value: Any = None
    number: int = 0

    def to_json(self) -> Json:
        """The step as a flow's last operation shows it."""
        valued = {} if self.op == _REMOVE else {"value": self.value}
        return {"op": self.op, "path": self.path} | valued


@dataclass(frozen=True)
class Dialect:
    """What an API accepts as an operation: the allowed `ops`, and its errors, by the operation's number."""

    ops: tuple[str, ...]
    not_an_object: Callable[[int], Problem]
    unknown_op: Callable[[int, str], Problem]
    bad_path: Callable[[int], Problem]


def parse_operations(sent: Sequence[object], dialect: Dialect) -> list[Operation]:
    """The operations of a patch; raises what the dialect says, and 1455 for a missing value."""
    return [_parse(number, one, dialect) for number, one in enumerate(sent)]


def merge(document: Json, change: Json) -> Json:
    """The document after a merge patch: objects are merged, null removes, any other value replaces."""
    merged = dict(document)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            inner = merged.get(key)
            merged[key] = merge(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def patch(document: Json, operations: Sequence[Operation]) -> Json:
    """The document after all operations, in order; `document` itself stays. Raises as `apply` does."""
    patched = copy.deepcopy(document)
    for operation in operations:
        apply(patched, operation)
    return patched


def apply(document: Json, operation: Operation) -> None:
    """Apply one operation to the document itself; raises 1455 for a path that does not exist, 1452 for a failed test.

    `replace` also sets a member of an object that is not there yet, as the vendor's APIs do.
    """
    path = operation.path[:200]
    try:
        parent, _ = JsonPointer(operation.path).to_last(document)
        op = "add" if operation.op == "replace" and isinstance(parent, dict) else operation.op
        step = {"op": op, "path": operation.path}
        if op != _REMOVE:
            step["value"] = copy.deepcopy(operation.value)
        JsonPatch([step]).apply(document, in_place=True)
    except JsonPatchTestFailed:
        raise problems.of_field(f"/{operation.number}/value", f"is not what {path} holds") from None
    except (JsonPatchException, JsonPointerException):
        raise problems.of_field(path, "does not exist", missing=True) from None


def _parse(number: int, one: object, dialect: Dialect) -> Operation:
    if not isinstance(one, dict):
        raise dialect.not_an_object(number)
    op, path = one.get("op"), one.get("path")
    if not isinstance(op, str) or op.lower() not in dialect.ops:
        raise dialect.unknown_op(number, ", ".join(dialect.ops))
    if not isinstance(path, str) or not path.startswith("/"):
        raise dialect.bad_path(number)
    if op.lower() != _REMOVE and "value" not in one:
        raise problems.of_field(f"/{number}/value", "is required", missing=True)
    return Operation(op.lower(), path, one.get("value"), number)
