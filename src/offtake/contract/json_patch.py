"""Changing a part of a document: JSON merge (RFC 7396), and add, replace, remove and test of JSON patch (RFC 6902)."""

import copy
from typing import Any

from offtake.contract import problems
from offtake.contract.bodies import Json
from offtake.contract.problems import Problem

_OPS = ("add", "replace", "remove", "test")


def merge(document: Json, change: Json) -> Json:
    """The document with the change laid over it: objects are merged, null takes away, all else replaces."""
    made = dict(document)
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            inner = made.get(key)
            made[key] = merge(inner if isinstance(inner, dict) else {}, value)
        else:
            made[key] = value
    return made


def patch(document: Json, operations: list[Any]) -> Json:
    """The document after all operations, in order; raises 1434, 1452 and 1455 with none of them done."""
    made = copy.deepcopy(document)
    for index, operation in enumerate(operations):
        _apply(made, operation, f"/{index}")
    return made


def _apply(document: Json, operation: object, where: str) -> None:
    if not isinstance(operation, dict):
        raise problems.of_field(where, "must be an object with op, path and value")
    op, path = operation.get("op"), operation.get("path")
    if not isinstance(op, str) or op.lower() not in _OPS:
        raise Problem(problems.PATCH_OP, f"{where}/op must be one of {', '.join(_OPS)}.")
    if not isinstance(path, str) or not path.startswith("/"):
        raise problems.of_field(f"{where}/path", "must be a JSON pointer such as /tags/name")
    if op.lower() != "remove" and "value" not in operation:
        raise problems.of_field(f"{where}/value", "is required", missing=True)
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    target: Any = document
    for step in steps:
        target = _child(target, step, path)
    if op.lower() == "test":
        if _child(target, last, path) != operation["value"]:
            raise problems.of_field(f"{where}/value", f"is not what {path[:200]} holds")
    elif isinstance(target, list):
        _change_list(target, last, op.lower(), operation.get("value"), path)
    elif isinstance(target, dict):
        _change_object(target, last, op.lower(), operation.get("value"), path)
    else:
        raise _no_such_path(path)


def _change_object(target: Json, key: str, op: str, value: object, path: str) -> None:
    if op != "remove":
        target[key] = copy.deepcopy(value)
    elif key in target:
        del target[key]
    else:
        raise _no_such_path(path)


def _change_list(target: list[Any], key: str, op: str, value: object, path: str) -> None:
    index = len(target) if key == "-" and op == "add" else _index(key, path)
    if index >= len(target) + (op == "add"):
        raise _no_such_path(path)
    if op == "add":
        target.insert(index, copy.deepcopy(value))
    elif op == "remove":
        del target[index]
    else:
        target[index] = copy.deepcopy(value)


def _child(target: object, step: str, path: str) -> object:
    if isinstance(target, dict) and step in target:
        return target[step]
    if isinstance(target, list) and _index(step, path) < len(target):
        return target[_index(step, path)]
    raise _no_such_path(path)


def _index(step: str, path: str) -> int:
    if not step.isascii() or not step.isdecimal() or len(step) > 9:  # noqa: PLR2004 - no list is longer
        raise _no_such_path(path)
    return int(step)


def _no_such_path(path: str) -> Problem:
    return problems.of_field(path[:200], "does not exist", missing=True)
