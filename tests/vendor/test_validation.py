"""The validation finds what differs, and its allow-list speaks of what the vendor describes."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.vendor.deviations import DEVIATIONS, NARROWED, PENDING, WRAPPED, Deviation
from tests.vendor.validation import Operation, check_response, document, operations, problems

FLOW_SERVICE = "/data/foundation/flowservice"
ETAG = {"id": "1", "etag": '"1"'}
RUN = {"metrics": {"durationSummary": {"startedAtUTC": "noon"}}}


@pytest.mark.parametrize(
    ("method", "path", "status", "body", "expected"),
    [
        ("GET", "/flows", 200, {"items": []}, ""),
        ("GET", "/flows/", 200, {"items": {}}, "destinations GET /flows 200: at /items: {} is not of type 'array'"),
        ("GET", "/flows/7", 200, {"items": [{"createdBy": 7}]}, "/items/0/createdBy: 7 is not of type 'string'"),
        ("GET", "/flows/7", 200, {"items": [{"scheduleParams": {"timeUnit": "week"}}]}, "timeUnit: 'week' is not one"),
        (
            "GET",
            "/flows/7",
            200,
            {"items": [{}]},
            "destinations GET /flows/{id} 200: at /items/0/id?: 'id' is",
        ),
        ("GET", "/connections/7", 200, {"items": [{}]}, "/items/0/id?: 'id' is a required"),
        ("GET", "/connections/7", 200, {}, "at the body: {} is not valid under any"),
        ("GET", "/connections", 200, {"count": 3}, ""),
        ("GET", "/runs", 200, {"items": [RUN]}, "/items/0/metrics/durationSummary/startedAtUTC: 'noon'"),
        ("GET", "/connections/7/test", 200, {"result": True}, ""),
        ("GET", "/connections/7/test", 200, {"result": "yes"}, "flow-service GET /connections/{BASE_CONNECTION_ID}/t"),
        ("POST", "/flows/search", 200, {"items": 1}, "flow-service POST /flows/search 200: at /items: 1 is not"),
        ("POST", "/flows", 201, ETAG, ""),
        ("POST", "/flows", 201, {"id": 1}, "destinations POST /flows 201: at /id: 1 is not of type 'string'"),
        ("POST", "/flows", 200, ETAG, "destinations POST /flows: lists no status 200, only 201"),
        ("POST", "/flows", 201, None, "None is not of type 'object'"),
        ("POST", "/flows", 400, {"anything": 1}, ""),
        ("GET", "/flows", 500, {}, ""),
        ("PUT", "/runs/7", 500, {}, ""),
        ("PUT", "/runs/7", 503, {}, "flow-service PUT /runs/{RUN_ID}: lists no status 503"),
        ("DELETE", "/flows/7", 202, None, ""),
        ("DELETE", "/flows/7", 204, None, "destinations DELETE /flows/{id}: lists no status 204"),
        ("DELETE", "/flows/7", 503, None, ""),
        ("PUT", "/flows/7", 405, {}, ""),
        ("GET", "/nothing", 200, "anything", ""),
        ("GET", "", 200, "anything", ""),
    ],
)
def test_what_differs_from_the_vendors_description_is_named(
    method: str, path: str, status: int, body: Any, expected: str
) -> None:
    found = "\n".join(problems(method, FLOW_SERVICE + path, status, body))
    assert expected in found
    assert bool(found) == bool(expected)


def answer(url: str, body: Any, **request: Any) -> httpx2.Response:
    return httpx2.Response(200, json=body, request=httpx2.Request(request.pop("method", "GET"), url, **request))


def test_a_response_that_differs_fails_its_test() -> None:
    url = f"http://testserver{FLOW_SERVICE}/flows"
    check_response(answer(url, {"items": []}))
    with pytest.raises(AssertionError, match="not as the vendor describes it"):
        check_response(answer(url, {"items": [{}]}))


def test_an_answer_to_a_projection_may_lack_the_rest_but_not_be_wrong() -> None:
    url = f"http://testserver{FLOW_SERVICE}/flows"
    check_response(answer(f"{url}?property=id,name", {"items": [{}]}))
    with pytest.raises(AssertionError, match=r"/items/0/id: 1 is not of type 'string'"):
        check_response(answer(f"{url}?property=id,name", {"items": [{"id": 1}]}))
    with pytest.raises(AssertionError, match="required"):
        check_response(answer(f"{url}?property=name==x", {"items": [{}]}))


def by_name() -> dict[str, Operation]:
    return {str(one): one for one in operations()}


@pytest.mark.parametrize("deviation", DEVIATIONS + PENDING, ids=lambda one: f"{one.operations[0]} {one.place}")
def test_a_deviation_is_from_something_the_vendor_says_and_has_its_reason(deviation: Deviation) -> None:
    assert re.match(r"(section \d+(\.\d+)?|conflict \d+|revision V\d+): .", deviation.reason) or deviation in PENDING
    for name in deviation.operations:
        responses = by_name()[name].responses
        if not deviation.place and str(deviation.status) not in responses:
            continue
        schema = {"properties": {"items": {"items": responses[str(deviation.status)]}}} if name in WRAPPED else None
        steps = deviation.place.removesuffix("?").split("/")[1:]  # none for the body as a whole
        assert says(name.partition(" ")[0], schema or responses[str(deviation.status)], steps), name


def test_what_is_wrapped_or_narrowed_is_described() -> None:
    assert set(by_name()) >= WRAPPED
    for name, served in NARROWED.items():
        assert {"$ref": f"#/definitions/{served}"} in by_name()[name].responses["200"]["oneOf"]


def says(name: str, schema: dict[str, Any], steps: list[str]) -> bool:
    """Whether a document's schema says something about a place, or requires it."""
    if not steps:
        return bool(schema)
    return any(
        (len(steps) == 1 and steps[0] in one.get("required", ())) or any(says(name, at, steps[1:]) for at in below)
        for one, below in reached(name, schema, steps[0])
    )


def reached(name: str, schema: dict[str, Any], step: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each schema that applies with this one, and what it says of the values one step below."""
    if "$ref" in schema:
        yield from reached(name, document(name)["definitions"][schema["$ref"].rpartition("/")[2]], step)
    for key in ("allOf", "anyOf", "oneOf"):
        for one in schema.get(key, ()):
            yield from reached(name, one, step)
    inner = [schema[key] for key in ("items", "additionalProperties") if step == "*" and key in schema]
    yield schema, inner + [one for key, one in schema.get("properties", {}).items() if step in ("*", key)]
