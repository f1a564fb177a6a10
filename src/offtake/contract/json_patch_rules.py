"""PATCH in Flow Service: JSON Patch with the contract's restrictions and shallow merges (contract, section 18)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from jsonpointer import JsonPointer

from offtake.contract import bodies, json_patch, problems
from offtake.contract.json_patch import Dialect, Operation
from offtake.contract.problems import Problem
from offtake.documents import Json

_MAX: Final = 100
_DIALECT: Final = Dialect(
    ops=("add", "replace", "remove"),
    not_an_object=lambda number: Problem(
        problems.EMPTY_BODY, f"Operation {number} must be an object with op, path and value."
    ),
    unknown_op=lambda number, ops: Problem(problems.PATCH_OP, f"Operation {number}: op must be one of {ops}."),
    bad_path=lambda number: problems.of_field(
        f"/{number}/path", "is required: a JSON pointer such as /name", missing=True
    ),
)


Patch = bytes | Sequence[Operation]
"""A patch: a request body, or operations made in this process."""


@dataclass(frozen=True)
class Patchable:
    """The operations allowed at one path.

    With `merges`, an object is merged into the stored one, key by key, instead of replacing it. `key_ops`: operations
    allowed on single keys below the path.
    """

    ops: tuple[str, ...] = ("add", "replace")
    merges: bool = False
    key_ops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """The paths that can be patched in one kind of entity. `refused`: special errors, by prefix of the path."""

    paths: Mapping[str, Patchable]
    refused: Mapping[str, Problem] = field(default_factory=dict)


def parse(patch: Patch) -> list[Operation]:
    """The operations of a patch; for a request body, raises 1405, 1434 and 1455 with the operation's index."""
    if not isinstance(patch, bytes):
        return list(patch)
    document = bodies.parse_json(patch)
    if not isinstance(document, list) or not document:
        raise Problem(problems.EMPTY_BODY, "The body must be a JSON array of operations that is not empty.")
    if len(document) > _MAX:
        raise problems.of_field("/", f"may have at most {_MAX} operations")
    return [replace(one, path=one.path.rstrip("/") or "/") for one in json_patch.parse_operations(document, _DIALECT)]


def apply(document: Json, operations: Sequence[Operation], rules: Rules) -> Json:
    """Apply all operations to a copy of the document. Raises 1455, or the error in `rules.refused`."""
    result = copy.deepcopy(document)
    for operation in operations:
        _apply(result, operation, rules)
    return result


def _apply(document: Json, operation: Operation, rules: Rules) -> None:
    for prefix, problem in rules.refused.items():
        if operation.path == prefix or operation.path.startswith(f"{prefix}/"):
            raise problem
    rule = rules.paths.get(operation.path)
    if rule is not None:
        _check_op(operation, rule.ops)
        _change(document, operation, merges=rule.merges, known=True)
        return
    parent = rules.paths.get(operation.path.rpartition("/")[0])
    if parent is None or not parent.key_ops:
        raise _no_path(operation.path, f"allowed: {', '.join(_known(rules))}")
    _check_op(operation, parent.key_ops)
    _change(document, operation, merges=False, known=False)


def _change(document: Json, operation: Operation, *, merges: bool, known: bool) -> None:
    *parents, last = JsonPointer(operation.path).parts
    parent: Any = document
    for step in parents:
        if parent.get(step) is None:
            parent[step] = {}
        parent = parent[step]
    # A field of the entity may be replaced although it has no value yet.
    if parent.get(last) is None and (operation.op == "remove" or (operation.op == "replace" and not known)):
        raise _no_path(operation.path, "does not exist; use add")
    if merges and operation.op != "remove":
        if not isinstance(operation.value, dict):
            raise problems.of_field(operation.path, "must be an object")
        sent = {key: value for key, value in operation.value.items() if value is not None}
        operation = replace(operation, value={**(parent.get(last) or {}), **sent})
    json_patch.apply(document, operation)


def _check_op(operation: Operation, allowed: tuple[str, ...]) -> None:
    if operation.op not in allowed:
        raise _no_path(operation.path, f"{operation.op} is not allowed; allowed: {', '.join(allowed)}")


def _no_path(path: str, message: str) -> Problem:
    return problems.of_field(path[:200], message, missing=True)


def _known(rules: Rules) -> list[str]:
    return [f"{path}[/<key>]" if patchable.key_ops else path for path, patchable in rules.paths.items()]
