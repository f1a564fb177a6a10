"""The JSON Schema for editors accepts what apply accepts."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from offtake.declarations import yaml_text
from offtake.declarations.json_schema import json_schema

VALIDATOR = Draft202012Validator(json_schema())
FLOW = "kind: flow\nname: f\ndataset: d\nto: c\nformat: json\nevery: 3h\n"
HOOK = "kind: alert-channel\nname: h\ntype: webhook\nsettings: {url: 'https://h', secret: env:S}"
SFTP = (
    "kind: connection\nname: c\ndestination: sftp\nauth: password\nparams: {domain: h, username: u, password: 'env:P'}"
)


def document(text: str) -> Any:
    (found,) = yaml_text.parse(text)
    return found.value


@pytest.mark.parametrize(
    "text",
    [
        FLOW + "params: {parquetEncoding: PLAIN}\nend: never\nstate: disabled",
        FLOW.replace("dataset: d", "datasets: [a, {name: b, columns: [x.y], ref: t}]"),
        SFTP,
        "kind: connection\nname: z\ndestination: landing-zone",
        "kind: catalog\nname: c\ntype: rest\nproperties: {uri: 'https://x', token: 'file:t'}",
        "kind: dataset\nname: d\ncolumns: ['id:long', {name: a, type: date, required: true}]",
        "kind: role\nname: r\npermissions: [view-datasets, '*']",
        "kind: client\nname: c\nroles: [r]\nsecretTo: file:x",
        HOOK,
        "kind: alert-channel\nname: m\ntype: email\nsettings: {to: [a@example.org]}",
        "kind: alert-rule\nname: r\nchannels: [h]\ntopics: [late]\nflow: f\nstate: disabled\ngroupSeconds: 0",
    ],
)
def test_valid_documents(text: str) -> None:
    assert [one.message for one in VALIDATOR.iter_errors(document(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        "kind: thing\nname: x",
        FLOW + "shedule: x",
        FLOW + "params: {nope: 1}",
        FLOW + "daily: '06:00'",
        FLOW.replace("dataset: d\n", ""),
        SFTP.replace("env:P", "secret"),
        SFTP.replace("domain", "host"),
        SFTP.replace("sftp", "ftp"),
        "kind: catalog\nname: c\ntype: rest\nproperties: {uri: 'https://x', token: t}",
        "kind: role\nname: r\npermissions: [view]",
        HOOK.replace("env:S", "a secret"),
        HOOK.replace("url", "uri"),
        HOOK.replace("webhook", "slack"),
        "kind: alert-rule\nname: r\nchannels: [h]\ntopics: [latte]",
        "kind: alert-rule\nname: r\nchannels: []",
    ],
)
def test_invalid_documents(text: str) -> None:
    assert not VALIDATOR.is_valid(document(text))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())
