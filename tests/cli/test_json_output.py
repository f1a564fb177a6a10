"""`--json` of every command is described, and what commands print is as described."""

import inspect
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from offtake.api.openapi.operations import schema_of
from offtake.cli.commands import Command, entries
from offtake.cli.json_output import JSON_OUTPUT, OfApi
from tests.cli.deliveries import Offtake, add
from tests.deployment import WITH_MANIFEST, Deployment, rows

WITHOUT = {"serve", "worker", "demo"}
"""They print no result, or nothing but a sentence."""
COMMANDS_OF = {words: entry for words, entry in entries() if isinstance(entry, Command)}


def test_the_json_of_every_command_is_described() -> None:
    assert COMMANDS_OF.keys() - JSON_OUTPUT.keys() == WITHOUT
    assert JSON_OUTPUT.keys() <= COMMANDS_OF.keys()
    for words in JSON_OUTPUT:
        module, _, name = COMMANDS_OF[words].function.partition(":")
        function: Callable[..., None] = getattr(import_module(f"offtake.cli.{module}"), name)
        assert "json" in inspect.signature(function).parameters, words


def schema(document: dict[str, Any], words: str) -> dict[str, Any]:
    """The JSON Schema of what the command prints."""
    output = JSON_OUTPUT[words]
    if not isinstance(output, OfApi):
        return schema_of(output.example)
    method, path = output.operation.split(" ")
    answers = document["paths"][path][method.lower()]["responses"]
    content = next(one for status, one in answers.items() if status < "300")["content"]["application/json"]
    found: dict[str, Any] = content["schema"]
    if output.form in ("item", "items"):
        for member in output.member.split("."):
            found = found["properties"][member]
        return found if output.form == "items" else found["items"]
    if output.form == "values":
        return {"type": "array", "items": found["additionalProperties"]}
    if output.form == "value":
        found = found["additionalProperties"]
    return found


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def test_commands_print_what_is_described(deployed: Deployment, offtake: Offtake, tmp_path: Path) -> None:
    document = deployed.http.get("/openapi.json").json()
    dataset = deployed.import_rows("events", rows(0, 20))
    deployed.post("/connections", {"name": "the zone"})
    flow = deployed.flow(dataset, params=WITH_MANIFEST)
    deployed.run_due()
    add(deployed, 20, 7)
    run = deployed.get("/runs")["items"][0]["id"]
    batch = next(iter(deployed.http.get("/data/foundation/catalog/batches").json()))
    file = tmp_path / "towns.csv"
    file.write_text("id\n1\n")
    document_file = tmp_path / "roles.yaml"
    document_file.write_text("kind: role\nname: readers\npermissions: [view-datasets]\n")
    for words, arguments in (
        ("status", ()), ("usage", ()), ("quota set", ("rows", "100")), ("quota list", ()),
        ("quota remove", ("rows",)),
        ("dataset import", ("towns", file)), ("dataset list", ()), ("dataset show", ("events",)),
        ("dataset create", ("empty",)), ("dataset update", ("empty", "--evolve")), ("dataset delete", ("empty",)),
        ("dataset label", ("towns", "core/C1")), ("batch list", ()), ("batch show", (batch,)), ("connection list", ()),
        ("connection test", ("the zone",)), ("connection create landing-zone", ("another",)),
        ("connection show", ("another",)), ("connection edit", ("another", "--name", "other")),
        ("flow create", (
            "hourly", "--dataset", "events", "--to", "other", "--path", "x", "--format", "ndjson", "--every", "3h",
        )),
        ("flow edit", ("hourly", "--every", "6h")), ("flow preview", ("hourly",)), ("flow pause", ("hourly",)),
        ("flow resume", ("hourly",)), ("flow delete", ("hourly", "--yes")), ("connection delete", ("other", "--yes")),
        ("apply", ("-f", document_file, "--yes")), ("diff", ("-f", document_file)), ("export", ()),
        ("flow list", ()), ("flow show", (flow,)), ("flow verify", (flow,)),
        ("run list", ()), ("run show", (run,)), ("run watch", (run,)), ("run manifest", (run,)), ("run verify", (run,)),
        ("sandbox create", ("dev",)), ("sandbox list", ()), ("client create", ("partner",)), ("client list", ()),
        ("client rotate", ("partner",)), ("role create", ("lookers", "--permission", "view-datasets")),
        ("role grant", ("lookers", "partner")), ("role list", ()), ("role show", ("lookers",)),
        ("role update", ("lookers", "--add", "view-destinations")), ("role revoke", ("lookers", "partner")),
        ("role delete", ("lookers",)), ("client revoke", ("partner",)), ("audit list", ()), ("vault rotate", ()),
        ("flow run", (flow,)), ("init", ()), ("batch revert", (batch,)), ("backup", (tmp_path / "one.tar",)),
    ):  # fmt: skip
        code, out, err = offtake(*words.split(), *map(str, arguments), "--json")
        assert code == 0, (words, err)
        described = schema(document, words)
        assert described.get("type") in ("object", "array"), words
        printed = json.loads(out)
        Draft202012Validator(described).validate(without_nulls(printed))
        known = set(described.get("properties", {}))
        if known and words not in ("run manifest",):
            assert known & set(printed), (words, "it shares nothing with its description")


@pytest.mark.parametrize("words", [one for one in JSON_OUTPUT if isinstance(JSON_OUTPUT[one], OfApi)])
def test_operations_that_are_named_exist(deployed: Deployment, words: str) -> None:
    assert schema(deployed.http.get("/openapi.json").json(), words)["type"] in ("object", "array")
