"""Tests a connection for a page, and explains the result."""

from dataclasses import dataclass
from typing import Final

from offtake.deployment.backend import Backend
from offtake.flows import connection_checks
from offtake.flows.connection_checks import ConnectionCheck

_MOST: Final = 20


@dataclass(frozen=True)
class TestError:
    """What is wrong: a code of delivery errors, and a sentence with the remedy."""

    __test__ = False

    code: str
    message: str


@dataclass(frozen=True)
class TestResult:
    """The result of a connection test. `places`: how many were tried. `limits`: guarantees that the server lacks."""

    __test__ = False

    works: bool
    errors: tuple[TestError, ...]
    limits: tuple[str, ...]
    places: int


def run(backend: Backend, prepared: ConnectionCheck) -> TestResult:
    """Run a prepared test; takes as long as the destination needs, within its timeouts."""
    answer = connection_checks.run_check(prepared, backend.pin_store)
    errors = answer.get("errors", [])[:_MOST]
    return TestResult(
        works=bool(answer["result"]),
        errors=tuple(TestError(one["code"], one["message"]) for one in errors),
        limits=tuple(answer.get("limits", ())),
        places=len(prepared.targets),
    )
