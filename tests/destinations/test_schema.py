"""The connection specs say what the contract says, and read requests as it does."""

import re
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.destinations import patterns, schema
from offtake.destinations.base import Destination
from offtake.destinations.registry import DESTINATIONS, by_connection_spec_id
from offtake.errors import InvalidInputError
from tests.destinations.cases import by_name

SECRET = "MARKEDsecretMARKED"
FILE_OPTIONS = {"uuidAsText", "parquetEncoding", "invalidText"}
S3_EXTENSIONS = {"storageClass", "serverSideEncryption", "kmsKeyId", "bucketOwnerFullControl"}


def every(function: Any) -> Any:
    return pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.name)(function)


def test_the_ids_are_the_contracts() -> None:
    found = {one.name: (one.connection_spec_id, one.flow_spec_id) for one in DESTINATIONS}
    assert found == {
        "Amazon S3": ("4fce964d-3f37-408f-9778-e597338a21ee", "269ba276-16fc-47db-92b0-c1049a3c131f"),
        "Azure Blob Storage": ("6d6b59bf-fb58-4107-9064-4d246c0e5bb2", "95bd8965-fc8a-4119-b9c3-944c2c2df6d2"),
        "Azure Data Lake Gen2": ("be2c3209-53bc-47e7-ab25-145db8b873e1", "17be2013-2549-41ce-96e7-a70363bec293"),
        "Data Landing Zone": ("10440537-2a7b-4583-ac39-ed38d4b848e8", "cd2fc47e-e838-4f38-a581-8fff2f99b63a"),
        "Google Cloud Storage": ("c5d93acb-ea8b-4b14-8f53-02138444ae99", "585c15c4-6cbf-4126-8f87-e26bff78b657"),
        "SFTP": ("36965a81-b1c6-401b-99f8-22508f1e6a26", "354d6aad-4754-46e4-a576-1b384561c440"),
    }
    assert all(by_connection_spec_id(one.connection_spec_id) is one for one in DESTINATIONS)
    assert len({one.flow_spec_name for one in DESTINATIONS}) == len(DESTINATIONS)


@every
def test_every_schema_is_valid_draft_07(destination: Destination) -> None:
    spec = schema.connection_spec(destination)
    for one in [*spec["authSpec"], *spec["encryptionSpecs"], spec["targetSpec"]]:
        jsonschema.Draft7Validator.check_schema(one["spec"])


@every
def test_the_target_spec_has_what_the_contract_lists(destination: Destination) -> None:
    found = schema.connection_spec(destination)["targetSpec"]["spec"]
    shared = {"fileType", "datasetFileType", "csvOptions", "compression", "includeFileManifest"}
    location = set(found["properties"]) - shared - FILE_OPTIONS
    assert location == {
        "Amazon S3": {"bucketName", "path", *S3_EXTENSIONS},
        "Azure Blob Storage": {"container", "path"},
        "Azure Data Lake Gen2": {"path"},
        "Data Landing Zone": {"path"},
        "Google Cloud Storage": {"bucketName", "path"},
        "SFTP": {"remotePath"},
    }.get(destination.name)
    assert set(found["required"]) == (location - S3_EXTENSIONS) | {"datasetFileType", "compression", "fileType"}
    assert found["properties"]["fileType"]["enum"] == ["CSV", "JSON", "PARQUET"]
    assert found["properties"]["datasetFileType"]["enum"] == ["JSON", "PARQUET"]
    assert found["properties"]["datasetFileType"]["conditional"]["operator"] == "CONTAINS"
    assert set(found["properties"]["compression"]["enum"]) == {"NONE", "GZIP"}


@every
def test_the_target_spec_has_the_options_of_files_and_requires_none(destination: Destination) -> None:
    found = schema.connection_spec(destination)["targetSpec"]["spec"]
    options = {key: found["properties"][key] for key in FILE_OPTIONS}
    assert {key: one["type"] for key, one in options.items()} == {
        "uuidAsText": "boolean",
        "parquetEncoding": "string",
        "invalidText": "string",
    }
    assert options["parquetEncoding"]["enum"] == ["DEFAULT", "PLAIN"]
    assert options["invalidText"]["enum"] == ["FAIL", "REPLACE"]
    assert all(one["title"] and one["description"] and one["x-extension"] is True for one in options.values())
    assert not FILE_OPTIONS & set(found["required"])


@every
def test_the_target_spec_says_that_a_manifest_file_is_asked_for(destination: Destination) -> None:
    found = schema.connection_spec(destination)["targetSpec"]["spec"]
    asked = found["properties"]["includeFileManifest"]
    assert (asked["type"], asked["title"]) == ("boolean", "Include manifest file")
    assert "Default: false" in asked["description"]
    assert "includeFileManifest" not in found["required"]


LOCATIONS = {
    "Amazon S3": {"bucketName": "partner", "path": "a"},
    "Azure Blob Storage": {"container": "partner", "path": "a"},
    "Google Cloud Storage": {"bucketName": "partner", "path": "a"},
    "SFTP": {"remotePath": "a"},
}


@every
def test_options_of_files_are_read_in_any_case_and_are_the_usual_when_left_out(destination: Destination) -> None:
    given = {"datasetFileType": "PARQUET", "compression": "NONE", **LOCATIONS.get(destination.name, {"path": "a"})}
    usual = schema.parse_target_params(destination, given)
    assert (usual.uuid_as_text, usual.parquet_encoding, usual.invalid_text) == (False, "DEFAULT", "FAIL")
    assert schema.redact(usual) == given
    chosen = given | {"uuidAsText": True, "parquetEncoding": "plain", "invalidText": "Replace"}
    parsed = schema.parse_target_params(destination, chosen)
    assert schema.redact(parsed) == chosen | {"parquetEncoding": "PLAIN", "invalidText": "REPLACE"}


@every
@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("uuidAsText", "maybe", "must be true or false"),
        ("datasetFileType", "CSV", "one of JSON, PARQUET"),
        ("datasetFileType", None, "one of JSON, PARQUET"),
        ("datasetFileType", ["JSON"], "one of JSON, PARQUET"),
        ("parquetEncoding", "DELTA", "'DEFAULT' or 'PLAIN'"),
        ("parquetEncoding", None, "'DEFAULT' or 'PLAIN'"),
        ("invalidText", "IGNORE", "'FAIL' or 'REPLACE'"),
        ("uuid_as_text", True, "allowed: datasetFileType, compression, mode, includeFileManifest, uuidAsText"),
    ],
)
def test_options_of_files_that_are_not_known_are_refused_with_what_is(
    destination: Destination, key: str, value: Any, allowed: str
) -> None:
    given = {"datasetFileType": "PARQUET", "compression": "NONE", **LOCATIONS.get(destination.name, {"path": "a"})}
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_target_params(destination, given | {key: value})
    (problem,) = caught.value.problems
    assert problem.path == f"/params/{key}"
    assert allowed in problem.message


@every
def test_the_auth_specs_have_the_contracts_names_and_secrets(destination: Destination) -> None:
    found = {
        one["name"]: {key for key, value in one["spec"]["properties"].items() if value.get("format") == "password"}
        for one in schema.connection_spec(destination)["authSpec"]
    }
    assert found == {
        "Amazon S3": {"Access Key": {"s3SecretKey"}, "Assumed Role": {"s3Role"}},
        "Azure Blob Storage": {
            "ConnectionString": {"connectionString"},
            "Azure Service Principal Auth": {"servicePrincipalKey"},
        },
        "Azure Data Lake Gen2": {"Azure Service Principal Auth": {"servicePrincipalKey"}},
        "Data Landing Zone": {},
        "Google Cloud Storage": {"Google Cloud Storage authentication credentials": {"secretAccessKey"}},
        "SFTP": {"SFTP with Password": {"password"}, "SFTP with SSH Key": {"sshKey", "passphrase", "password"}},
    }.get(destination.name)


def test_the_patterns_are_published_as_the_contract_has_them() -> None:
    s3 = schema.connection_spec(by_name("Amazon S3"))
    keys = s3["authSpec"][0]["spec"]["properties"]
    assert keys["s3AccessKey"]["pattern"] == "^[A-Z2-7]{20}$"
    assert keys["s3SecretKey"]["pattern"] == r"^[A-Za-z0-9/\+]{40}$"
    path = s3["targetSpec"]["spec"]["properties"]["path"]["pattern"]
    assert path == r"^[0-9a-zA-Z/\!\-_\.\*\''\(\)]*((\%SEGMENT_(NAME|ID)\%)?/?)+$"
    ssh = schema.connection_spec(by_name("SFTP"))["authSpec"][1]["spec"]["properties"]["sshKey"]
    assert ssh["contentEncoding"] == "base64"


@given(st.text(alphabet="ab9/!-_.*'(%SEGMNT_AI)$ ", max_size=14) | st.from_regex(r"[a/]{0,4}(%SEGMENT_ID%/?){0,3}b?"))
def test_the_linear_check_of_paths_accepts_what_the_published_pattern_does(text: str) -> None:
    published = re.fullmatch(patterns.PUBLISHED_OBJECT_PATH.removeprefix("^").removesuffix("$"), text)
    steps = any(segment in (".", "..") for segment in text.split("/"))
    assert (patterns.object_path_problem(text) is None) == (published is not None and not steps)


@given(st.text(alphabet="ab9.-A_", max_size=12) | st.from_regex(r"[a-z0-9.-]{1,70}", fullmatch=True))
def test_the_check_of_buckets_accepts_what_the_published_pattern_does(text: str) -> None:
    published = re.match(patterns.PUBLISHED_BUCKET, text)
    assert (patterns.bucket_problem(text) is None) == (published is not None)


@pytest.mark.parametrize("bad", ["ab", "1.2.3.4", "Goog", "UPPER", "a_b_c", "-abc", "abc-", "a" * 64, "abc\n", ""])
def test_bad_bucket_names_are_refused(bad: str) -> None:
    assert patterns.bucket_problem(bad) is not None


@pytest.mark.parametrize("bad", ["go", "google-bucket", "goog1", "my-g00gle", "1.2.3.4", "Upper", "a" * 64])
def test_bad_google_bucket_names_are_refused(bad: str) -> None:
    assert patterns.google_bucket_problem(bad) is not None


@pytest.mark.parametrize("bad", ["ab", "a--b", "-abc", "abc-", "Abc", "a" * 64])
def test_bad_container_names_are_refused(bad: str) -> None:
    assert patterns.container_problem(bad) is not None


@pytest.mark.parametrize("text", ["%SEGMENT_ID%/" * 70 + "\n", "a/" * 500 + "$", "%SEGMENT_ID%" * 80 + "x"])
def test_hostile_paths_are_judged_in_no_time(text: str) -> None:
    began = time.process_time()
    assert patterns.object_path_problem(text) is not None
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("bad", ["../x", "a/../b", "a/.", "a\\b", "a\x00b", "a\nb", "C:/x", "x" * 1025])
@pytest.mark.parametrize("name", ["Data Landing Zone", "SFTP"])
def test_paths_that_lead_elsewhere_are_refused(name: str, bad: str) -> None:
    key = "remotePath" if name == "SFTP" else "path"
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_target_params(by_name(name), {"datasetFileType": "JSON", "compression": "GZIP", key: bad})
    assert [problem.path for problem in caught.value.problems] == [f"/params/{key}"]


def test_params_are_read_forgivingly_and_stored_canonically() -> None:
    given = {"mode": "Server-to-server", "datasetFileType": "json", "compression": "gzip", "path": "/a/b/"}
    parsed = schema.parse_target_params(by_name("Data Landing Zone"), given)
    assert schema.redact(parsed) == given | {"datasetFileType": "JSON", "compression": "GZIP"}
    assert (parsed.folder(), parsed.include_file_manifest) == ("a/b", False)


def test_a_port_may_be_a_numeric_string() -> None:
    params = {"domain": "d", "username": "u", "password": SECRET, "port": "2222"}
    assert schema.with_defaults(schema.parse_credentials(by_name("SFTP"), "SFTP with Password", params))["port"] == 2222


def test_the_refusal_of_an_audience_target_names_the_key_that_datasets_need() -> None:
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_target_params(
            by_name("Data Landing Zone"), {"fileType": "CSV", "compression": "GZIP", "path": "a"}
        )
    assert [problem.path for problem in caught.value.problems] == ["/params/datasetFileType"]


def test_every_problem_of_the_params_is_reported_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_target_params(by_name("Amazon S3"), {"bucketName": "X", "compression": "ZIP", "folder": "a"})
    missing = {problem.path: problem.missing for problem in caught.value.problems}
    assert missing == {
        "/params/bucketName": False,
        "/params/compression": False,
        "/params/folder": False,
        "/params/path": True,
        "/params/datasetFileType": True,
    }


@pytest.mark.parametrize(
    ("name", "spec_name", "params"),
    [
        ("Amazon S3", "Access Key", {"s3AccessKey": 5, "s3SecretKey": SECRET, SECRET: SECRET}),
        ("SFTP", "SFTP with Password", {"domain": "", "username": "u", "password": [SECRET], "port": SECRET}),
        ("Azure Blob Storage", "ConnectionString", {"connectionString": {"x": SECRET}}),
        ("Amazon S3", "Access Key", SECRET),
    ],
)
def test_a_refusal_never_repeats_a_value(name: str, spec_name: str, params: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_credentials(by_name(name), spec_name, params)
    values = str(caught.value).replace(f"/auth/params/{SECRET}", "")  # a key is no value
    assert SECRET not in values


def test_secrets_are_masked_where_they_are_shown() -> None:
    params = {"s3AccessKey": "AKIA", "s3SecretKey": SECRET}
    credentials = schema.parse_credentials(by_name("Amazon S3"), "Access Key", params)
    assert schema.redact(credentials) == {"s3AccessKey": "AKIA", "s3SecretKey": "********"}
    assert schema.with_defaults(credentials) == params
    assert SECRET not in repr(credentials) + str(credentials)
