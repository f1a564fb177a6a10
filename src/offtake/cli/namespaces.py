"""Namespaces that are kept in step with their catalog: compared now, in rounds, with what each did."""

from collections.abc import Sequence
from typing import Final

import typer

from offtake.cli import output
from offtake.client.server import LAKE_CATALOGS, Server
from offtake.documents import Json

_COMPARED: Final = 100
"""Known tables that one round compares."""


def sync_all(to: Server, catalog_id: str, kept: Sequence[Json], *, json: bool) -> None:
    """Compare these namespaces completely, and print what was done: errors first, then exit code 1.

    An error is a catalog that has not answered, or a namespace that cannot be kept in step.
    """
    found = {one["namespace"]: _sync(to, catalog_id, one) for one in kept}
    failed = [f"Namespace {name}: {done['problem']}" for name, done in found.items() if done["problem"]]
    for line in failed:
        output.note(f"offtake: {line}")
    if json:
        output.as_json(found)
    for name, done in found.items() if not json else ():
        if not done["problem"] or done["appeared"] or done["gone"]:
            appeared = output.count_of(len(done["appeared"]), "table")
            output.line(f"namespace {name}: {appeared} appeared, {len(done['gone'])} gone")
        for table, dataset in done["collisions"].items():
            output.line(f"  {table} is dataset {dataset}: another dataset has its name")
        for table, why in done["refused"].items():
            output.line(f"  {table} is not registered: {why}")
    if failed:
        raise typer.Exit(1)


def _sync(to: Server, catalog_id: str, kept: Json) -> Json:
    """Rounds of bounded work, until all tables are compared; what they did together."""
    path = f"{LAKE_CATALOGS}/{catalog_id}/keptNamespaces/{kept['id']}/action"
    total: Json = {"appeared": [], "gone": [], "collisions": {}, "refused": {}, "problem": None}
    rounds = 0
    while True:
        done = to.post(path, query=(("op", "sync"),))
        rounds += 1
        total = {
            "appeared": total["appeared"] + done["appeared"],
            "gone": total["gone"] + done["gone"],
            "collisions": total["collisions"] | done["collisions"],
            "refused": done["refused"],
            "problem": done["problem"],
        }
        if done["problem"] or (not done["more"] and rounds * _COMPARED >= done["tables"]):
            return total
