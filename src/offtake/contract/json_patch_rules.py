"""PATCH in Flow Service: JSON Patch with the contract's restrictions and shallow merges (contract, section 18)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from jsonpointer import JsonPointer

from offtake.contract import bodies, json_patch, problems
from offtake.contract.bodies import Json
from offtake.contract.json_patch import Dialect, Operation
from offtake.contract.problems import Problem

_MOST: Final = 100
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


@dataclass(frozen=True)
class Patchable:
    """What may be done at one path.

    With `merges`, an object is laid over the stored one, key by key, instead of replacing it; with `key_ops`, the
    keys below the path can be changed one by one too.
    """

    ops: tuple[str, ...] = ("add", "replace")
    merges: bool = False
    key_ops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What can be patched in one kind of entity. `refused` names, by the path's beginning, what is told apart."""

    paths: Mapping[str, Patchable]
    refused: Mapping[str, Problem] = field(default_factory=dict)


def parse(body: bytes) -> list[Operation]:
    """The steps of a request's body; raises 1405, 1434 and 1455 saying which step is meant."""
    document = bodies.parse_json(body)
    if not isinstance(document, list) or not document:
        raise Problem(problems.EMPTY_BODY, "The body must be a JSON array of operations that is not empty.")
    if len(document) > _MOST:
        raise problems.of_field("/", f"may hold at most {_MOST} operations")
    return [replace(one, path=one.path.rstrip("/") or "/") for one in json_patch.parse_operations(document, _DIALECT)]


def apply(document: Json, operations: Sequence[Operation], rules: Rules) -> Json:
    """The document as it is after every step; `document` itself stays. Raises 1455, or what `rules` refuses with."""
    after = copy.deepcopy(document)
    for operation in operations:
        _apply(after, operation, rules)
    return after


def _apply(document: Json, operation: Operation, rules: Rules) -> None:
    for beginning, problem in rules.refused.items():
        if operation.path == beginning or operation.path.startswith(f"{beginning}/"):
            raise problem
    whole = rules.paths.get(operation.path)
    if whole is not None:
        _check_op(operation, whole.ops)
        _change(document, operation, merges=whole.merges, known=True)
        return
    parent = rules.paths.get(operation.path.rpartition("/")[0])
    if parent is None or not parent.key_ops:
        raise _no_path(operation.path, f"allowed: {', '.join(_known(rules))}")
    _check_op(operation, parent.key_ops)
    _change(document, operation, merges=False, known=False)


def _change(document: Json, operation: Operation, *, merges: bool, known: bool) -> None:
    *parents, last = JsonPointer(operation.path).parts
    holder: Any = document
    for step in parents:
        if holder.get(step) is None:
            holder[step] = {}
        holder = holder[step]
    # A known field may be replaced while it is empty.
    if holder.get(last) is None and (operation.op == "remove" or (operation.op == "replace" and not known)):
        raise _no_path(operation.path, "there is nothing to change; use add")
    if merges and operation.op != "remove":
        if not isinstance(operation.value, dict):
            raise problems.of_field(operation.path, "must be an object")
        sent = {key: value for key, value in operation.value.items() if value is not None}
        operation = replace(operation, value={**(holder.get(last) or {}), **sent})
    json_patch.apply(document, operation)


def _check_op(operation: Operation, allowed: tuple[str, ...]) -> None:
    if operation.op not in allowed:
        raise _no_path(operation.path, f"{operation.op} is not possible here; allowed: {', '.join(allowed)}")


def _no_path(path: str, why: str) -> Problem:
    return problems.of_field(path[:200], why, missing=True)


def _known(rules: Rules) -> list[str]:
    return [f"{path}[/<key>]" if one.key_ops else path for path, one in rules.paths.items()]
