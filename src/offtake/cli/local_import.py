"""Imports of files where they are, into the deployment of a data directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offtake.catalog import file_import, upload_preview
from offtake.catalog.file_import import ImportRequest
from offtake.catalog.file_options import FileOptions, parse_options
from offtake.cli.file_options import NAMES
from offtake.cli.local import operating
from offtake.contract import bodies
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.lake.parsing.options import ParseOptions


def import_locally(
    data_dir: Path | None, sandbox: str | None, name: str, files: Sequence[Path], options: ParseOptions, **how: bool
) -> Json:
    """Import the files as one batch; `{"dataset", "created", "batch"}`. `how`: `evolve` and `again`."""
    with operating(data_dir, sandbox) as (backend, caller):
        wanted = ImportRequest(name, tuple(files), options, **how)
        done = file_import.import_files(backend.database, backend.lake, backend.parsers, caller, backend.clock, wanted)
    batch = {"id": done.batch.id, "rows": done.batch.rows, "bytes": done.batch.bytes, "notes": done.batch.notes}
    return {"dataset": {"id": done.dataset.id, "name": name}, "created": done.created, "batch": batch}


def dry_run_locally(
    data_dir: Path | None, sandbox: str | None, name: str, files: Sequence[Path], options: ParseOptions, **how: bool
) -> Json:
    """What the import would change, as the API describes it."""
    with operating(data_dir, sandbox) as (backend, caller):
        wanted = ImportRequest(name, tuple(files), options, **how)
        return upload_preview.dry_run_document(file_import.dry_run(backend.database, backend.parsers, caller, wanted))


def parse(document: Mapping[str, Any]) -> ParseOptions:
    """Convert the options for the parsers. Raises `OfftakeError`, which names the option and what is allowed."""
    try:
        return parse_options(bodies.parse_document(FileOptions, dict(document)))
    except Problem as error:
        raise OfftakeError(_sentence(error)) from None


def _sentence(error: Problem) -> str:
    """The error's message, with the options' names of the command line."""
    parts = []
    for problem in error.fields:
        name = problem.path.split("/")[1]
        parts.append(f"--{NAMES.get(name, name)}: {problem.message}" if name else problem.message)
    return "; ".join(parts) or str(error)
