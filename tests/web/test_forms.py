import re
from typing import Any

import pytest
from starlette.datastructures import FormData

from offtake.destinations import schema
from offtake.destinations.base import AuthMethod, Destination
from offtake.destinations.registry import DESTINATIONS
from offtake.errors import FieldProblem
from offtake.web import connection_form, forms
from offtake.web.rendering import environment
from tests.destinations.cases import by_name

SECRET = "MARKEDsecretMARKED"


def str_of(one: object) -> str:
    return getattr(one, "name", "place")


METHODS: list[tuple[Destination, AuthMethod]] = [(one, method) for one in DESTINATIONS for method in one.auth_methods]


def rendered(shown: tuple[forms.Field, ...]) -> str:
    macro = environment().get_template("ui/form.html").module.generated  # type: ignore[attr-defined] # a macro
    return str(macro(shown))


@pytest.mark.parametrize(("destination", "method"), METHODS, ids=lambda one: one.name)
def test_every_declaration_is_a_form_with_labels_and_help(destination: Destination, method: AuthMethod) -> None:
    for model in (method.model, destination.parameters):
        for one in forms.fields(model):
            assert one.label[0].isupper()
            assert one.help != one.label
            assert f'id="f-{one.name}"' in rendered((one,))
            assert one.key in {info.alias for info in model.model_fields.values()}


@pytest.mark.parametrize("method", [method for _, method in METHODS], ids=lambda one: one.name)
def test_a_form_that_is_sent_as_it_is_shown_has_the_defaults(method: AuthMethod) -> None:
    shown = forms.fields(method.model, "a0-")
    form = FormData({one.name: str(one.value) for one in shown if one.value not in (False, "")})
    optional = {info.alias for info in method.model.model_fields.values() if not info.is_required()}
    sent = forms.parse(method.model, form, "a0-")
    assert set(sent) <= optional
    defaults = {info.alias: info.default for info in method.model.model_fields.values()}
    assert sent == {key: str(defaults[key]) for key in sent}
    assert {one.key for one in shown if one.required} == set(defaults) - optional


def test_defaults_are_shown() -> None:
    by_key = {one.key: one for one in forms.fields(by_name("SFTP").auth_methods[1].model)}
    assert (by_key["allowOldAlgorithms"].kind, by_key["allowOldAlgorithms"].value) == ("flag", False)
    assert (by_key["port"].kind, by_key["port"].value) == ("number", "22")
    assert by_key["readBack"].options == (("", "Default"), ("true", "Yes"), ("false", "No"))
    assert by_key["sshKey"].kind == "area"
    params = {one.key: one for one in forms.fields(by_name("Amazon S3").parameters)}
    assert params["parquetEncoding"].value == "DEFAULT"
    assert params["datasetFileType"].kind == "choice"
    assert "checked" not in rendered((params["includeFileManifest"],))


def test_secrets_never_come_back() -> None:
    destination = by_name("SFTP")
    form = FormData({"method": "1", "a1-sshKey": SECRET, "a1-password": SECRET, "a0-password": SECRET, "name": "N"})
    shown = connection_form.show(destination, form, {"a1-sshKey": "is wrong"})
    pages = "".join(rendered(one.fields) for one in shown.methods)
    assert SECRET not in pages
    assert "is wrong" in pages
    assert SECRET not in str(connection_form.check(destination, form, FREE))


FREE: Any = type("Free", (), {"is_host_denied": lambda _self, _host: False})()


def test_a_stored_secret_is_kept_and_not_required() -> None:
    public = {"s3AccessKey": "AKIA", "s3SecretKey": schema.MASK}
    by_key = {one.key: one for one in forms.fields(by_name("Amazon S3").auth_methods[0].model, "", public)}
    assert (by_key["s3SecretKey"].kept, by_key["s3SecretKey"].required) == (True, False)
    assert "leave the field empty" in by_key["s3SecretKey"].help.lower()
    assert by_key["s3AccessKey"].value == "AKIA"


def test_problems_are_shown_with_their_fields() -> None:
    destination = by_name("SFTP")
    form = FormData({"method": "0", "a0-port": "99999", "a0-domain": "d", "a0-password": " p "})
    problems = connection_form.check(destination, form, FREE)
    assert set(problems) == {"name", "a0-username", "a0-port"}
    assert problems["name"] == "is required"
    assert connection_form.show(destination, form, problems).summary[0] == ("name", "Account name", "is required")
    assert connection_form.body(destination, form)["auth"]["params"]["password"] == " p "


def test_a_pattern_is_explained_by_an_example() -> None:
    shown = (forms.Field("p-region", "region", "Region", "text", example="eu-central-1"),)
    found = forms.problems_by_name(
        [FieldProblem("/params/region", "must match the pattern ^x$"), FieldProblem("/params", "both")],
        {"/params/": "p-"},
        shown,
    )
    assert found == {"p-region": "is not valid; an example: eu-central-1", "": "both"}


def test_armored_keys_are_encoded_and_base64_is_left_alone() -> None:
    model = by_name("SFTP").auth_methods[1].model
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\r\nabc\r\n-----END OPENSSH PRIVATE KEY-----\r\n"
    assert forms.parse(model, FormData({"sshKey": key}))["sshKey"].startswith("LS0tLS1CRUdJTi")
    assert forms.parse(model, FormData({"sshKey": "TUFSS0VE"}))["sshKey"] == "TUFSS0VE"


def test_only_the_chosen_method_is_read() -> None:
    form = FormData({"name": "N", "method": "1", "a0-s3AccessKey": "AKIA", "a1-s3Role": "arn"})
    body = connection_form.body(by_name("Amazon S3"), form)
    assert body["auth"] == {"specName": "Assumed Role", "params": {"s3Role": "arn"}}
    for odd in ("9", "-1", "x", "²", ""):
        sent = FormData({"method": odd, "a0-s3AccessKey": "AKIA"})
        assert connection_form.body(by_name("Amazon S3"), sent)["auth"]["specName"] == "Access Key"


def test_labels_of_keys_without_a_title() -> None:
    assert [forms.sentence(key) for key in ("endpointUrl", "kmsKeyId", "s3AccessKey")] == [
        "Endpoint URL",
        "KMS key id",
        "S3 access key",
    ]


_RAW = re.compile(r"Default: (true|false)|GET /|`|\b[a-z]+[A-Z][A-Za-z]+=")


@pytest.mark.parametrize(("destination", "method"), [*((one, None) for one in DESTINATIONS), *METHODS], ids=str_of)
def test_helps_of_forms_name_choices_by_their_labels(destination: Destination, method: AuthMethod | None) -> None:
    for one in forms.fields(method.model if method else destination.parameters):
        assert not _RAW.search(one.help), one.help
        for value, label in one.options:
            if value and value != label:
                assert not re.search(rf"\b{re.escape(value)}\b", one.help), (one.key, one.help)


def test_a_value_has_one_name_on_all_pages() -> None:
    model = by_name("Amazon S3").parameters
    assert forms.in_words(model, "datasetFileType", "PARQUET") == "Parquet"
    assert forms.in_words(model, "includeFileManifest", True) == "Yes"
    assert forms.in_words(model, "storageClass", None) == ""
    params = {"datasetFileType": "JSON", "compression": "GZIP"}
    assert forms.files_in_words(params) == "JSON, gzip"
    assert forms.files_in_words(params | {"includeFileManifest": True}) == "JSON, gzip, with a manifest file"
    assert forms.files_in_words({"datasetFileType": "PARQUET", "compression": "NONE"}) == "Parquet, not compressed"
    assert connection_form.method_title(by_name("Amazon S3"), "Access Key") == "Access key"
