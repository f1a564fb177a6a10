"""The commands `offtake usage` and `offtake quota …`."""

from typing import Annotated, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.client import amounts
from offtake.client.server import FLOW_SERVICE, Server
from offtake.documents import Json
from offtake.errors import OfftakeError, WrongUsageError

_MEASURES: Final = {"rows": "rows", "bytes": "bytes", "files": "files", "compute-seconds": "computeSeconds"}
_WORDS: Final = {name: word for word, name in _MEASURES.items()}
_LIMIT: Final = 1000
_KEYS: Final = {"dataset": "dataset", "destination": "connection", "flow": "flow"}

Measure = Annotated[str, typer.Argument(help=f"What it limits: {', '.join(_MEASURES)}.")]


def usage(
    month: Annotated[
        str | None, typer.Option("--month", help="A month (UTC) such as 2026-11; default: this one, by month all.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Add up by dataset, destination, flow or month, or several: a,b.")
    ] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show rows, bytes, files and CPU seconds by dataset and destination in a month."""
    given = {"month": month, "by": by}
    with connected(server, data_dir, sandbox) as to:
        found = _read(to, [(name, value) for name, value in given.items() if value])
    if json:
        output.as_json(found)
        return
    columns = (*(one.upper() for one in found["by"]), "ROWS", "SIZE", "FILES", "CPU SECONDS")
    rows = [(*(_name(one, dimension) for dimension in found["by"]), *_amounts(one)) for one in found["items"]]
    output.table(columns, rows, "Nothing was used.")
    if rows and output.is_terminal():
        total = found["total"]
        output.line(
            f"total: {output.count_of(total['recordCount'], 'row')}, {output.size(total['bytes'])}, "
            f"{output.count_of(total['fileCount'], 'file')}, {output.count_of(total['computeSeconds'], 'CPU second')}"
        )


def set_(
    measure: Measure,
    limit: Annotated[str, typer.Argument(help="The monthly limit, such as 5000000, 500G or 1.5T.")],
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Set a sandbox's monthly quota; while it is reached, new runs wait, and none fails."""
    path, amount = _path(measure), _amount(limit)
    with connected(server, data_dir, sandbox) as to:
        found = to.put(path, {"limit": amount})
    if json:
        output.as_json(found)
        return
    output.line(_sentence(found))
    _print_held(found)


def list_(server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List a sandbox's monthly quotas and what is used of them."""
    with connected(server, data_dir, sandbox) as to:
        found = _extension(to, f"{FLOW_SERVICE}/quotas")
    if json:
        output.as_json(found)
        return
    rows = [
        (_WORDS[one["measure"]], one["limit"], one["used"], "reached" if one["reached"] else "", _renewal(one))
        for one in found["items"]
    ]
    output.table(("MEASURE", "LIMIT", "USED", "STATE", "RENEWS"), rows, "No quotas.")
    _print_held(found)


def remove(
    measure: Measure,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Remove a sandbox's monthly quota; the runs that it held start."""
    path = _path(measure)
    with connected(server, data_dir, sandbox) as to:
        found = to.delete(path)
    if json:
        output.as_json(found)
        return
    output.line(f"the quota of {measure} is removed")
    _print_held(found)


def _read(server: Server, query: list[tuple[str, str]]) -> Json:
    """The report with the items of all its pages."""
    first = _extension(server, f"{FLOW_SERVICE}/usage", [*query, ("limit", str(_LIMIT))])
    items = list(first["items"])
    while len(items) < first["totalCount"]:
        page = server.get(f"{FLOW_SERVICE}/usage", [*query, ("limit", str(_LIMIT)), ("start", str(len(items)))])
        if not page["items"]:
            break
        items += page["items"]
    return first | {"items": items, "_links": {}}


def _extension(server: Server, path: str, query: list[tuple[str, str]] | None = None) -> Json:
    found: Json | None = server.get_extension(path, query or ())
    if found is None:
        raise server.extension_error("usage")
    return found


def _name(one: Json, dimension: str) -> object:
    if dimension == "month":
        return one["month"]
    key = _KEYS[dimension]
    return one[f"{key}Name"] or one[f"{key}Id"] or "(deleted)"


def _amounts(one: Json) -> tuple[object, ...]:
    return (
        one["recordCount"],
        output.size(one["bytes"]) if output.is_terminal() else one["bytes"],
        one["fileCount"],
        one["computeSeconds"],
    )


def _path(measure: str) -> str:
    name = _MEASURES.get(measure, measure if measure in _WORDS else None)
    if name is None:
        raise WrongUsageError(f"{measure} cannot be limited; give one of {', '.join(_MEASURES)}.")
    return f"{FLOW_SERVICE}/quotas/{name}"


def _amount(text: str) -> int:
    try:
        return amounts.parse(text)
    except OfftakeError as error:
        raise WrongUsageError(f"{text} {error}.") from None


def _sentence(found: Json) -> str:
    if found["reached"]:
        return str(found["message"])
    return (
        f"the quota of {_WORDS[found['measure']]} is {found['limit']:,} a month; {found['used']:,} are used, and it "
        f"renews at {output.instant(found['renewsAtUTC'])}"
    )


def _renewal(one: Json) -> object:
    return output.Instant(one["renewsAtUTC"])


def _print_held(found: Json) -> None:
    if found["heldRunCount"]:
        output.line(f"waiting for it: {output.count_of(found['heldRunCount'], 'run')}")
