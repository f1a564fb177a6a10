"""The command line. A mistake is one line on standard error and a non-zero exit."""

import sys

import typer

from offtake.cli import (
    audit,
    backfilling,
    backup,
    batches,
    clients,
    connections,
    datasets,
    demo,
    flows,
    proofs,
    roles,
    run_actions,
    runs,
    sandboxes,
    serve,
    vault,
)
from offtake.errors import OfftakeError, disk_trouble

app = typer.Typer(help="Scheduled, provable exports of Iceberg datasets.", pretty_exceptions_enable=False)
app.command()(serve.serve)
app.command()(serve.worker)
app.command()(demo.demo)
app.command()(backup.backup)
app.command()(backup.restore)
app.add_typer(datasets.app, name="dataset")
app.add_typer(batches.app, name="batch")
app.add_typer(connections.app, name="connection")
app.add_typer(flows.app, name="flow")
app.add_typer(runs.app, name="run")
app.add_typer(sandboxes.app, name="sandbox")
app.add_typer(clients.app, name="client")
app.add_typer(roles.app, name="role")
app.add_typer(audit.app, name="audit")
app.add_typer(vault.app, name="vault")
flows.app.command("backfill")(backfilling.command)
flows.app.command("verify")(proofs.flow)
runs.app.command("verify")(proofs.run)
runs.app.command("cancel")(run_actions.cancel)
runs.app.command("retry")(run_actions.retry)


def main(arguments: list[str]) -> int:
    """Carry out one command; its exit code."""
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
    except OfftakeError as error:
        return _complain(str(error), 1)
    except OSError as error:
        return _complain(_of_system(error), 1)
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0


def _of_system(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    begin = "The disk takes nothing more: " if disk_trouble(error) else ""
    return f"{begin}{error.strerror or error}{where}"


def _complain(message: str, code: int) -> int:
    print(f"offtake: {' '.join(message.split())}", file=sys.stderr)
    return code
