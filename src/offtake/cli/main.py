"""The entry point of the command line. An error is one line on standard error and a non-zero exit code."""

import sys
from io import TextIOWrapper
from typing import Final

import typer

from offtake.cli import connecting, output
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


_OTHER_FORM: Final = "The server does not answer as one of the Flow Service contract does"


def main(arguments: list[str]) -> int:  # noqa: PLR0911 - one return a kind of error
    """Run one command and return its exit code."""
    _print_all_characters()
    try:
        code = _run(arguments or ["--help"])
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


def _run(arguments: list[str]) -> object:
    """Run the command. What a server's answer of another form causes is an `OfftakeError`, not a crash."""
    try:
        return command_line()(arguments, standalone_mode=False)
    except UnicodeEncodeError:
        wrong = next((one for one in arguments if not _is_text(one)), None)
        if wrong is None:
            raise
        raise WrongUsageError(f"The argument {wrong[:200]!r} is not valid text. Write it in UTF-8.") from None
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        if not connecting.is_over_network():
            raise
        detail = f"{type(error).__name__}: {error}"[:200]
        raise OfftakeError(f"{_OTHER_FORM} ({detail}). Check its URL and version.") from error


def _is_text(argument: str) -> bool:
    """Whether the argument was valid in the encoding of the terminal, by its lack of surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _print_all_characters() -> None:
    """Escape what the encoding of a stream lacks, instead of failing in the middle of the output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _of_system(error: OSError) -> str:
    file = f": {error.filename}" if error.filename else ""
    prefix = "Cannot write to the disk: " if disk_error(error) else ""
    return f"{prefix}{error.strerror or error}{file}"


def _print_error(message: str, code: int) -> int:
    output.note(f"offtake: {' '.join(message.split())}")
    return code
