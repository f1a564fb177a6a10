"""The commands `offtake apply` and `offtake diff`."""

import sys
from collections.abc import Callable, Sequence
from json import dumps
from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.client.server import Server
from offtake.declarations import executing, files, parsing, planning
from offtake.declarations.context import Context, Options
from offtake.declarations.json_schema import json_schema
from offtake.declarations.plan import Action, Change, FieldChange, Plan
from offtake.declarations.problems import DocumentsError
from offtake.declarations.state import State
from offtake.errors import OfftakeError

Files = Annotated[
    list[str] | None,
    typer.Option("-f", "--file", help="A file of documents (YAML or JSON), a folder of these, or - ; repeatable."),
]
SetName = Annotated[
    str | None, typer.Option("--set", help="The set that these documents are: applied things get its tag.")
]
InlineSecrets = Annotated[bool, typer.Option("--allow-inline-secrets", help="Documents may contain secrets.")]
SendSecrets = Annotated[
    bool, typer.Option("--send-secrets", help="Send all declared secrets, without comparing them first.")
]

_MARKS: Final[dict[Action, str]] = {
    "create": "+",
    "change": "~",
    "replace": "-/+",
    "delete": "-",
    "adopt": "=",
    "nothing": "=",
}
_DONE: Final[dict[Action, str]] = {
    "create": "created",
    "change": "changed",
    "replace": "replaced",
    "delete": "deleted",
    "adopt": "adopted",
}
_LONGEST: Final = 200


def apply(  # noqa: PLR0913, PLR0917 - one parameter an option
    file: Files = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what has the tag of the set and is not declared any more.")
    ] = False,
    set_name: SetName = None,
    allow_replace: Annotated[
        bool, typer.Option("--allow-replace", help="Allow changes that lose a flow's position or create things again.")
    ] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Things of other sets may join the set.")] = False,
    allow_inline_secrets: InlineSecrets = False,
    send_secrets: SendSecrets = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of documents, for editors.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create and change what documents in files declare; the plan is shown first.

    It can be interrupted and repeated. Exit code 0: everything is as declared.
    """
    if schema:
        output.as_json(json_schema())
        return
    _check_set(set_name, prune=prune)
    options = Options(set_name, prune, allow_inline_secrets, send_secrets, take_over)
    declared = _read(file)
    with connected(server, data_dir, sandbox) as to:
        context, plan = _plan(to, declared, options)
        _print(plan, output.note if json else output.line)
        if dry_run or not (plan.differences or _has_tags(plan)):
            _print_result(plan, json=json)
            return
        _check_permission(plan, allow_replace=allow_replace)
        _confirm(plan, yes=yes)
        known = len(plan.notes)
        executing.carry_out(context, plan, _report)
    _print_result(plan, json=json)
    for one in plan.notes[known:]:
        output.note(one)
    if not json:
        output.line(f"Applied: {_results(plan)}.")


def diff(
    file: Files = None,
    set_name: SetName = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also show what is in the set and is not declared any more.")
    ] = False,
    allow_inline_secrets: InlineSecrets = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show how the server differs from documents in files; nothing is changed.

    The exit code is 0 without differences, 1 with differences, and 2 if they cannot be compared.
    """
    try:
        declared = _read(file)
        _check_set(set_name, prune=prune)
        with connected(server, data_dir, sandbox) as to:
            _, plan = _plan(to, declared, Options(set_name, prune, allow_inline_secrets, take_over=True))
    except OfftakeError as error:
        output.note(f"offtake: {' '.join(str(error).split())}")
        raise typer.Exit(2) from None
    if json:
        output.as_json(plan.to_json())
    else:
        _print(plan, output.line)
    raise typer.Exit(1 if plan.differences else 0)


def _read(names: Sequence[str] | None) -> list[parsing.Declared]:
    if not names:
        raise typer.BadParameter("Name the files: -f FILE; a folder, or - for standard input.")
    try:
        found = parsing.parse(files.read(names))
    except DocumentsError as error:
        raise _reported(error) from None
    if not found:
        raise OfftakeError("The files have no documents.")
    return found


def _check_set(set_name: str | None, *, prune: bool) -> None:
    if prune and set_name is None:
        raise typer.BadParameter("--prune needs --set NAME: only things with the tag of that set are deleted.")


def _plan(server: Server, declared: Sequence[parsing.Declared], options: Options) -> tuple[Context, Plan]:
    context = Context(State(server), declared, options)
    try:
        return context, planning.make_plan(context)
    except DocumentsError as error:
        raise _reported(error) from None


def _reported(error: DocumentsError) -> DocumentsError:
    for line in error.lines:
        output.note(line)
    return error


def _check_permission(plan: Plan, *, allow_replace: bool) -> None:
    refused = [f"{one.kind} {one.name}" for one in plan.changes if one.needs_permission]
    if refused and not allow_replace:
        names = ", ".join(refused[:5]) + (" …" if len(refused) > 5 else "")  # noqa: PLR2004 - a few
        raise OfftakeError(f"{names}: the plan replaces it. Nothing was changed; to allow it, use --allow-replace.")


def _confirm(plan: Plan, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise OfftakeError(f"The plan is {_counts(plan)}. Nothing was changed; confirm it with --yes.")
    typer.confirm(f"Apply: {_counts(plan)}?", abort=True, err=True)


def _print(plan: Plan, line: Callable[[str], None]) -> None:
    for one in plan.changes:
        if one.action == "nothing" and not one.notes:
            continue
        line(f"{_MARKS[one.action]} {one.kind} {one.name}{_remarks(one)}")
        for field in one.fields:
            line(f"    {_field(one, field)}")
    for note in plan.notes:
        output.note(note)
    line(f"Plan: {_counts(plan)}.")


def _remarks(change: Change) -> str:
    return f": {'; '.join(change.notes)}" if change.notes else ""


def _field(change: Change, one: FieldChange) -> str:
    if change.action == "create":
        return f"{one.field}: {_value(one.new)}"
    return f"{one.field}: {_value(one.old)} → {_value(one.new)}"


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = "(none)" if value is None else value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _counts(plan: Plan) -> str:
    found = [f"{count} to {action}" for action in _DONE if (count := plan.count(action))]
    return ", ".join([*found, f"{plan.count('nothing')} unchanged"])


def _results(plan: Plan) -> str:
    return ", ".join(f"{count} {word}" for action, word in _DONE.items() if (count := plan.count(action)))


def _has_tags(plan: Plan) -> bool:
    return any(one.joins_set for one in plan.changes)


def _report(change: Change) -> None:
    output.note(f"{change.kind} {change.name}: {_DONE[change.action]}")


def _print_result(plan: Plan, *, json: bool) -> None:
    if json:
        output.as_json(plan.to_json())
