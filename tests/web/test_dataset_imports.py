import gzip
import json
import re
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment
from tests.web.browsing import ORIGIN, signed_in, words
from tests.web.importing import CSV, FORM, all_batches, all_names, committed, multipart, send


def test_a_file_becomes_a_new_dataset_after_its_review(deployed: Deployment) -> None:
    person = signed_in(deployed)
    review = send(person, ("orders.csv", CSV)).headers["location"]
    page = words(person.get(review))
    assert "2 rows can be imported." in page
    for text in ("Bern", "id long", "city string"):
        assert text in page
    assert all_names(deployed) == []
    assert "2 rows are in the dataset." in committed(deployed, person, review)
    assert all_names(deployed) == ["orders"]
    assert not list(deployed.backend.uploads.batch_ids())


@pytest.mark.parametrize(
    ("name", "content", "shape"),
    [
        ("x.tsv", b"id\tcity\n1\tBern\n", "CSV"),
        ("x.csv.gz", gzip.compress(CSV, mtime=0), "CSV"),
        ("x.ndjson", b'{"id": 1}\n{"id": 2}\n', "JSON"),
        ("x.json", b'\n [{"id": 1}, {"id": 2}]', "JSON"),
        ("x.json.gz", gzip.compress(b'[{"id": 1}]', mtime=0), "JSON"),
    ],
    ids=["tsv", "csv.gz", "ndjson", "json", "json.gz"],
)
def test_the_format_is_found_by_the_name_and_the_beginning(
    deployed: Deployment, name: str, content: bytes, shape: str
) -> None:
    person = signed_in(deployed)
    page = committed(deployed, person, send(person, (name, content)).headers["location"])
    assert re.search("rows? (are|is) in the dataset", page)
    assert f"Format {shape}" in page
    assert all_names(deployed) == ["x"]


def test_rows_are_added_to_a_dataset_and_the_same_file_is_recognised(deployed: Deployment) -> None:
    person = signed_in(deployed)
    committed(deployed, person, send(person, ("a.csv", CSV), name="orders").headers["location"])
    review = send(person, ("b.csv", CSV), name="orders").headers["location"]
    page = words(person.get(review))
    assert "These rows were imported before. a.csv was imported just now" in page
    assert "its 2 rows are in orders twice" in page
    assert "will be added" not in page
    assert "Add them a second time" in page
    (known,) = (one for one in all_batches(deployed) if one.status == "success")
    assert f"/batches/{known.id}" in person.get(review)
    assert "2 rows are in the dataset." in committed(deployed, person, review)
    assert all_names(deployed) == ["orders"]


def test_a_refused_file_says_why_and_is_not_committed_until_the_options_fit(deployed: Deployment) -> None:
    person = signed_in(deployed)
    committed(deployed, person, send(person, ("a.csv", CSV), name="orders").headers["location"])
    review = send(person, ("b.csv", b"id,city,extra\n3,Lima,x\n"), name="orders").headers["location"]
    page = person.get(review)
    assert "cannot be imported with these options" in words(page)
    assert "extra" in words(page)
    assert re.search(r'<button class="button primary" [^>]* disabled>', page)
    page = words(person.get(f"{review}?evolve=true"))
    assert "1 row will be added to orders (2 rows)." in page
    assert re.search("extra string \\(found\\) .* new ", page)
    assert "1 row is in the dataset." in committed(deployed, person, f"{review}?evolve=true")


def test_options_are_the_state_of_the_url(deployed: Deployment) -> None:
    person = signed_in(deployed)
    review = send(person, ("a.csv", b"1;x\n2;NULL\n")).headers["location"]
    query = "&header=data&delimiter=%3B&nullMarker=NULL&columnTypes=f1+string"
    page = words(person.get(review + query))
    assert "2 rows can be imported." in page
    for wrong, problem in (
        ("&delimiter=ab", "must be one ASCII character"),
        ("&charset=nonsense", "known text encoding"),
        ("&columnTypes=id+wrong", "Line 1: Column id"),
        ("&format=xls", "must be 'json', 'parquet' or 'csv'"),
    ):
        assert problem in words(person.get(review + wrong))
    with_name = committed(deployed, person, review + query, {"name": "Mine"})
    assert "2 rows are in the dataset." in with_name
    assert all_names(deployed) == ["Mine"]


def test_a_name_that_was_taken_meanwhile_is_refused_at_the_commit(deployed: Deployment) -> None:
    person = signed_in(deployed)
    review = send(person, ("a.csv", CSV), name="orders").headers["location"]
    deployed.import_rows("orders", [{"id": 1}])
    answer = person.post(review.split("?")[0] + "/commit", {"name": "orders"}, 422)
    assert "already has the name orders" in words(answer.text)
    assert all_batches(deployed)[0].status == "loading"
    first = person.post(review.split("?")[0] + "/commit", {"name": "orders 2"})
    again = person.post(review.split("?")[0] + "/commit", {"name": "orders 3"})
    assert again.headers["location"] == first.headers["location"]
    assert "Queued" in words(person.get(again.headers["location"]))
    assert all_names(deployed) == ["orders", "orders 2"]


def test_a_discarded_upload_leaves_nothing(deployed: Deployment) -> None:
    person = signed_in(deployed)
    review = send(person, ("a.csv", CSV), ("b.csv", CSV)).headers["location"]
    assert "4 rows can be imported." in words(person.get(review))
    assert "a.csv" in words(person.get(FORM))
    shown = person.post(review.split("?")[0] + "/discard").headers["location"]
    page = words(person.get(shown))
    assert "The upload is discarded. Nothing was imported." in page
    assert "a.csv" not in page
    assert [one.status for one in all_batches(deployed)] == ["aborted"]
    assert not list(deployed.backend.uploads.batch_ids())
    assert all_names(deployed) == []


@pytest.mark.parametrize(
    ("name", "file", "problem"),
    [
        ("", ("x.xlsx", b"x"), "unknown format"),
        ("", ("", b""), "choose a file"),
        ("x" * 256, ("x.csv", CSV), "must be 1 to 255 characters"),
        ("", ("..csv", CSV), "2 rows"),
    ],
)
def test_a_wrong_form_is_refused_and_nothing_is_stored(
    deployed: Deployment, name: str, file: tuple[str, bytes], problem: str
) -> None:
    person = signed_in(deployed)
    if problem == "2 rows":
        assert problem in words(person.get(send(person, file, name=name).headers["location"]))
        return
    assert problem in words(send(person, file, name=name, status=422).text)
    by_script = send(person, file, name=name, status=200, headers={"x-requested-with": "upload"})
    assert problem in json.loads(by_script.text)["problem"]
    assert not all_batches(deployed)
    assert not list(deployed.backend.uploads.batch_ids())


def test_the_second_file_of_another_kind_drops_the_first_as_well(deployed: Deployment) -> None:
    person = signed_in(deployed)
    send(person, ("a.csv", CSV), ("b.exe", b"MZ"), status=422)
    assert [one.status for one in all_batches(deployed)] == ["aborted"]
    assert not list(deployed.backend.uploads.batch_ids())


@pytest.mark.parametrize("csrf", ["", "0" * 64])
def test_an_upload_without_the_sessions_token_is_refused_before_it_is_stored(deployed: Deployment, csrf: str) -> None:
    person = signed_in(deployed)
    send(person, ("a.csv", CSV), csrf=csrf, status=403)
    body, kind = multipart([], [("a.csv", CSV)])
    tail, _ = multipart([("csrf", person.csrf)], [])
    sent = person.headers | {"content-type": kind}
    late = person.http.post(ORIGIN + FORM, content=body.removesuffix(b"--xyz--\r\n") + tail, headers=sent)
    assert late.status_code == 403
    cross = person.headers | {"content-type": kind, "sec-fetch-site": "cross-site"}
    assert person.http.post(ORIGIN + FORM, content=body, headers=cross).status_code == 403
    assert not all_batches(deployed)


def test_an_upload_needs_the_permission(deployed: Deployment) -> None:
    viewer = signed_in(deployed, deployed.new_client("view-datasets", "view-destinations"))
    viewer.get(FORM, 403)
    body, kind = multipart([("csrf", viewer.csrf)], [("a.csv", CSV)])
    answer = viewer.http.post(ORIGIN + FORM, content=body, headers=viewer.headers | {"content-type": kind})
    assert answer.status_code == 403
    assert not all_batches(deployed)


def test_a_body_that_ends_early_leaves_nothing(deployed: Deployment) -> None:
    person = signed_in(deployed)
    person.get(FORM)
    body, kind = multipart([("csrf", person.csrf)], [("a.csv", CSV * 1000)])
    sent = person.headers | {"content-type": kind}
    answer = person.http.post(ORIGIN + FORM, content=body[:-2000], headers=sent)
    assert answer.status_code == 422
    assert "not" in words(answer.text)
    assert {one.status for one in all_batches(deployed)} <= {"aborted"}
    assert not list(deployed.backend.uploads.batch_ids())


def test_an_upload_that_is_too_large_is_refused_by_its_declared_length(deployed: Deployment) -> None:
    person = signed_in(deployed)
    person.get(FORM)

    def nothing() -> Iterator[bytes]:
        yield b""

    sent = person.headers | {"content-type": "multipart/form-data; boundary=xyz", "content-length": str(10**12)}
    answer = person.http.post(ORIGIN + FORM, content=nothing(), headers=sent)
    assert answer.status_code == 422
    assert "at most" in words(answer.text)


def test_hostile_file_and_column_names_are_text(deployed: Deployment) -> None:
    person = signed_in(deployed)
    name = "<img src=x onerror=alert(1)>%22" + "فاتورة" * 30 + ".csv"
    content = b'"<script>alert(1)</script>",b\n"<script>x</script>",2\n'
    review = send(person, (name, content), name="<b>x</b>").headers["location"]
    for page in (person.get(review), person.get(FORM)):
        assert "<img src=x" not in page
        assert "<script>alert" not in page
    assert "1 row is in the dataset." in committed(deployed, person, review)
    assert all_names(deployed) == ["<b>x</b>"]


def test_a_batch_of_the_api_is_reviewed_with_its_own_format(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", [{"id": 1, "city": "Bern"}])
    body = {"datasetId": dataset_id, "inputFormat": {"format": "csv", "delimiter": ";"}}
    batch_id = deployed.post("/data/foundation/import/batches", body)["id"]
    path = f"/data/foundation/import/batches/{batch_id}/datasets/{dataset_id}/files/x.csv"
    headers = {"content-type": "application/octet-stream"}
    assert deployed.http.put(path, content=b"id;city\n2;Oslo\n", headers=headers).status_code == 201
    person = signed_in(deployed)
    page = person.get(f"/ui/prod/datasets/{dataset_id}/batches/{batch_id}")
    assert f"{FORM}/{batch_id}" in page
    assert "1 row is in the dataset." in committed(deployed, person, f"{FORM}/{batch_id}")


@pytest.mark.parametrize("end", ["ABORT", "COMPLETE"])
def test_an_upload_that_ended_elsewhere_cannot_be_reviewed(deployed: Deployment, end: str) -> None:
    person = signed_in(deployed)
    review = send(person, ("a.csv", CSV)).headers["location"].split("?")[0]
    batch_id = review.rsplit("/", 1)[1]
    answer = deployed.http.post(f"/data/foundation/import/batches/{batch_id}?action={end}")
    status = 400 if answer.is_success else 200
    assert ("nothing to review" in words(person.get(review, status))) == answer.is_success
