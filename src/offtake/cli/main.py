"""The entry point of the command line. An error is one line on standard error and a non-zero exit code."""

import sys
from typing import Final

import typer

from offtake.cli.commands import command_line
from offtake.errors import NoDeploymentError, OfftakeError, WrongUsageError, disk_error

_EXTRAS: Final = {
    "asyncssh": "sftp",
    "azure": "azure",
    "boto3": "glue",
    "botocore": "aws",
    "psycopg": "postgres",
    "psycopg2": "postgres",
}
"""The extra that installs a library, by the library's module."""


def main(arguments: list[str]) -> int:  # noqa: PLR0911 - one return a kind of error
    """Run one command and return its exit code."""
    try:
        code = command_line()(arguments or ["--help"], standalone_mode=False)
    except (NoDeploymentError, WrongUsageError) as error:
        return _print_error(str(error), 2)
    except OfftakeError as error:
        return _print_error(str(error), 1)
    except OSError as error:
        return _print_error(_of_system(error), 1)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _print_error(f"{error.name} is not installed. Install it: pip install 'offtake[{extra}]'", 1)
    except typer.TyperException as error:
        return _print_error(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0


def _of_system(error: OSError) -> str:
    file = f": {error.filename}" if error.filename else ""
    prefix = "Cannot write to the disk: " if disk_error(error) else ""
    return f"{prefix}{error.strerror or error}{file}"


def _print_error(message: str, code: int) -> int:
    print(f"offtake: {' '.join(message.split())}", file=sys.stderr)
    return code
