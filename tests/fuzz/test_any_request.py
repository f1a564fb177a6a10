"""Unexpected requests, generated from our own document: no 5xx, no status or shape that it does not name."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from offtake.engines.local import LocalEngine
from tests.conftest import NOON
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.matrix import examples

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SHARES = 6
EXAMPLES = 12


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine) -> Iterator[Deployment]:
    """A deployment with one thing of each kind in it."""
    with deployment(tmp_path_factory.mktemp("fuzzed") / "data", FakeClock(NOON), engine) as opened:
        opened.flow(opened.import_rows("events", rows(0, 3)))
        opened.run_due()
        new = {"name": "dev", "title": "Development", "type": "development"}
        opened.post("/data/foundation/sandbox-management/sandboxes", new, 202)
        yield opened


@pytest.mark.search
@pytest.mark.parametrize("share", range(SHARES))
def test_any_request_is_answered_as_the_document_says(fuzzed: Deployment, share: int) -> None:
    document: Any = schemathesis.openapi.from_asgi("/openapi.json", fuzzed.http.app)
    operations = [found.ok() for found in document.get_all_operations()]
    ids = known_ids(fuzzed)
    headers = {key: value for key, value in fuzzed.http.headers.items() if key.lower() not in ("accept", "host")}
    assert len(operations) > SHARES
    for operation in operations[share::SHARES]:
        strategies = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @given(case=st.one_of(strategies), known=st.booleans(), row_id=st.sampled_from(ids))
        @settings(max_examples=examples(EXAMPLES), suppress_health_check=list(HealthCheck), deadline=None)
        def answered(case: Any, known: bool, row_id: str) -> None:
            if known and case.path_parameters:
                # Half of the requests are about something that is there.
                case.path_parameters = dict.fromkeys(case.path_parameters, row_id)
            case.call_and_validate(headers=headers, checks=CHECKS)

        answered()


def known_ids(fuzzed: Deployment) -> list[str]:
    """The ids of everything that can be read, and a sandbox that may come to harm."""
    kinds = ("connections", "sourceConnections", "targetConnections", "flows", "runs", "connectionSpecs", "flowSpecs")
    found = [item["id"] for kind in kinds for item in fuzzed.get(f"/{kind}")["items"]]
    roles = fuzzed.http.get("/data/foundation/access-control/administration/roles").json()["items"]
    return [*found, *(role["id"] for role in roles), "dev", "offtake"]
