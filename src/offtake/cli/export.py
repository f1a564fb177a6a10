"""The command `offtake export`."""

from typing import Annotated, get_args

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.declarations import exporting
from offtake.declarations.context import Context
from offtake.declarations.models import Kind
from offtake.declarations.problems import nearest
from offtake.declarations.state import State


def export(
    name: Annotated[list[str] | None, typer.Argument(help="Names or ids. Default: everything of the kinds.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="catalog, dataset, connection, flow, alert-channel, alert-rule, role or client; repeatable. Default: "
            "all but roles and clients.",
        ),
    ] = None,
    set_name: Annotated[str | None, typer.Option("--set", help="Only things of this set.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="With the ids, so that names can be changed.")] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Print what exists as documents that apply reads; secrets are references to be filled in."""
    with connected(server, data_dir, sandbox) as to:
        context = Context(State(to), ())
        found = exporting.export(context, [_kind(one) for one in kind or ()], name or (), set_name, with_ids=ids)
    if json:
        output.as_json(found)
    elif found:
        output.whole(exporting.to_yaml(found).rstrip("\n"))
    else:
        output.note("There is nothing to export.")


def _kind(text: str) -> Kind:
    for one in get_args(Kind):
        if text in (one, f"{one}s"):
            found: Kind = one
            return found
    raise typer.BadParameter(f"{text!r} is not a kind; {nearest(text, get_args(Kind))}")
