"""Partial updates of documents: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902).

The APIs of the contract accept different operations and have different errors: see `Dialect`.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed, JsonPointerException
from jsonpointer import JsonPointer

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.documents import Json

_REMOVE: Final = "remove"


@dataclass(frozen=True)
class Operation:
    """One operation, at index `number`: `op` in lower case, `path` a JSON pointer, `value` unless it removes."""

    op: str
    path: str
    value: Any = None
    number: int = 0

    def to_json(self) -> Json:
        """The operation as a flow's last operation shows it."""
        valued = {} if self.op == _REMOVE else {"value": self.value}
        return {"op": self.op, "path": self.path} | valued


@dataclass(frozen=True)
class Dialect:
    """The operations that an API accepts: the allowed `ops`, and its errors by the operation's index."""

    ops: tuple[str, ...]
    not_an_object: Callable[[int], Problem]
    unknown_op: Callable[[int, str], Problem]
    bad_path: Callable[[int], Problem]


def parse_operations(sent: Sequence[object], dialect: Dialect) -> list[Operation]:
    """Parse the operations of a patch; raises the dialect's errors, and 1455 for a missing value."""
    return [_parse(number, operation, dialect) for number, operation in enumerate(sent)]


def merge(document: Json, change: Json) -> Json:
    """Apply a merge patch to a copy: objects are result, null removes, any other value replaces."""
    result = dict(document)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = merge(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result


def patch(document: Json, operations: Sequence[Operation]) -> Json:
    """Apply all operations in order to a copy of the document. Raises as `apply` does."""
    result = copy.deepcopy(document)
    for operation in operations:
        apply(result, operation)
    return result


def apply(document: Json, operation: Operation) -> None:
    """Apply one operation in place; raises 1455 for a path that does not exist, 1452 for a failed test.

    `replace` also adds a missing member of an object, as the vendor's APIs do.
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
        raise problems.of_field(f"/{operation.number}/value", f"differs from the value at {path}") from None
    except (JsonPatchException, JsonPointerException):
        raise problems.of_field(path, "does not exist", missing=True) from None


def _parse(number: int, sent: object, dialect: Dialect) -> Operation:
    if not isinstance(sent, dict):
        raise dialect.not_an_object(number)
    op, path = sent.get("op"), sent.get("path")
    if not isinstance(op, str) or op.lower() not in dialect.ops:
        raise dialect.unknown_op(number, ", ".join(dialect.ops))
    if not isinstance(path, str) or not path.startswith("/"):
        raise dialect.bad_path(number)
    if op.lower() != _REMOVE and "value" not in sent:
        raise problems.of_field(f"/{number}/value", "is required", missing=True)
    return Operation(op.lower(), path, sent.get("value"), number)
