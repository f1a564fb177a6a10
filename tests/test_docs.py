"""What is written about the code says what the code is."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from offtake.api.errors import GATEWAY, GATEWAY_REMEDIES
from offtake.contract import problems
from offtake.destinations.parameters import TargetParams
from offtake.errors import DELIVERY_CODES
from tests.deployment import FLOW_SERVICE, Deployment

ROOT = Path(__file__).parents[1]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", generator().pages())
def test_generated_pages_are_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generator().pages()[name], "run: make docs"


def test_every_code_is_raised_somewhere_and_stands_once() -> None:
    text = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    names = {name for name, value in vars(problems).items() if isinstance(value, problems.Code)}
    unused = {name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2}
    assert unused == set()
    numbers = [(code.number, code.status) for code in problems.codes()]
    assert len(set(numbers)) == len(numbers)
    assert set(re.findall(r'GatewayError\("(\d+)"\)', text)) <= set(GATEWAY)
    assert GATEWAY.keys() == GATEWAY_REMEDIES.keys()
    assert all(one.remedy for one in problems.codes())
    assert all(one.remedy for one in DELIVERY_CODES)


def test_every_cited_section_of_the_contract_and_its_code_are_listed() -> None:
    page = (ROOT / "docs" / "contract.md").read_text()
    listed = {number for row in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE) for number in row.split(", ")}
    texts = (path.read_text() for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py"))
    cited = {number for text in texts for number in re.findall(r"contract[^()\n]{0,6} sections? (\d+)", text)}
    assert len(cited) > 10
    assert cited <= listed
    named = re.findall(r"`([a-z0-9_/]+(?:/|\.py))`", page)
    assert [one for one in named if not any((folder / one).exists() for folder in (ROOT, ROOT / "src/offtake"))] == []


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r'^    "([a-z0-9-]+)[\[>=<]', project, re.MULTILINE)
    development = re.findall(r"^([a-z0-9-]+)", (ROOT / "requirements" / "dev.in").read_text(), re.MULTILINE)
    missing = [name for name in {*named, *development} if name.removeprefix("types-") not in reasons]
    assert [name for name in missing if not name.endswith("-stubs")] == []


def test_every_route_is_described_with_what_it_answers(deployed: Deployment) -> None:
    document = deployed.http.get("/openapi.json").json()
    lacking = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            success = [status for status in answers if status < "300"]
            if not success or not operation.get("summary") or not operation.get("operationId"):
                lacking.append(f"{method} {path}")
            acts = {"op", "action"} & {one["name"] for one in operation.get("parameters", [])}
            if method in ("post", "put", "patch") and not acts and not operation.get("requestBody"):
                lacking.append(f"{method} {path}: body")
            for status in success:
                for kind, content in answers[status].get("content", {}).items():
                    if kind == "application/json" and not content.get("schema"):
                        lacking.append(f"{method} {path} {status}: schema")
    assert lacking == []


def test_the_page_of_the_api_shows_every_route_and_runs_nothing(deployed: Deployment) -> None:
    deployed.http.headers.clear()
    page = deployed.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert page.text.count("<details") == page.text.count("</details>")
    for path, operations in deployed.http.get("/openapi.json").json()["paths"].items():
        assert page.text.count(f"<code>{path}</code>") == len(operations)


def test_the_openapi_document_describes_the_params_that_all_target_connections_share(deployed: Deployment) -> None:
    document = deployed.http.get("/openapi.json").json()
    body = document["paths"][f"{FLOW_SERVICE}/targetConnections"]["post"]["requestBody"]["content"]["application/json"]
    described = body["schema"]["properties"]["params"]["description"]
    for name, field in TargetParams.model_fields.items():
        assert f"- `{field.alias or name}`: {field.description}" in described
