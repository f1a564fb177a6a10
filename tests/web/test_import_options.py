import re
from urllib.parse import quote

import pytest

from offtake.lake.parsing import regional_text
from tests.deployment import Deployment, rows
from tests.web.browsing import form_of, signed_in, words
from tests.web.importing import CSV, FORM, all_batches, all_names, committed, pressed, send

TYPED = b"id;zip;note\n1;0815;x\n2;0816;NULL\n"


def test_what_the_form_shows_is_imported(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get(send(person, ("kunden.csv", CSV)).headers["location"])
    assert form_of(page, "options")[0]["name"] == ["kunden"]
    pressed(person, page, "/commit", {"name": "Kunden 2"})
    assert all_names(deployed) == ["Kunden 2"]


def test_changed_options_with_another_result_are_reviewed_before_the_import(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get(send(person, ("a.csv", TYPED)).headers["location"])
    again = pressed(person, page, "/commit", {"nullMarker": "NULL", "name": "Mine"}, 422).text
    assert "The options changed since the last check. Nothing is imported yet." in words(again)
    assert form_of(again, "options")[0]["nullMarker"] == ["NULL"]
    assert all_batches(deployed)[0].status == "loading"
    assert all_names(deployed) == []
    pressed(person, again, "/commit")
    assert all_names(deployed) == ["Mine"]


def test_changed_options_with_the_same_result_are_imported_at_once(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get(send(person, ("a.csv", TYPED)).headers["location"])
    pressed(person, page, "/commit", {"delimiter": ";", "charset": "utf-8"})
    assert all_names(deployed) == ["a"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"columnType": ["", "zip:int"]},
            "column zip must have whole numbers (int) without leading zeros or plus signs. ",
        ),
        ({"columnType": ["zip:wrong"]}, "Column zip: 'wrong' is not a type. Types are"),
        ({"columnTypes": "other long"}, "A type is declared for column other, but no file has it"),
        ({"delimiter": "ab"}, "must be one ASCII character"),
    ],
)
def test_changed_options_that_are_refused_import_nothing(
    deployed: Deployment, change: dict[str, object], problem: str
) -> None:
    person = signed_in(deployed)
    page = person.get(send(person, ("a.csv", TYPED)).headers["location"])
    answer = pressed(person, page, "/commit", change, 422).text
    assert problem in words(answer)
    assert all_batches(deployed)[0].status == "loading"
    assert all_names(deployed) == []


def test_a_type_is_chosen_in_the_table_of_columns_and_stays_chosen(deployed: Deployment) -> None:
    person = signed_in(deployed)
    review = send(person, ("a.csv", b"id,day,price\n1,2026-01-02,5\n")).headers["location"]
    assert form_of(person.get(review), "options")[0]["columnType"] == ["", "", ""]
    query = "&columnType=id%3Aint&columnTypes=price+decimal(10,4)%0Aday:string&columnType="
    page = person.get(review + query)
    shown, _ = form_of(page, "options")
    assert shown["columnType"] == ["id:int", "day:string", "price:decimal(10,4)"]
    assert shown["columnTypes"] == [""]
    refused = person.get(f"{review}&columnType=day%3Along")
    assert "cannot be imported" in words(refused)
    assert form_of(refused, "options")[0]["columnType"] == ["", "day:long", ""]
    assert "1 row is in the dataset." in committed(deployed, person, review + query)
    dataset_id = all_batches(deployed)[0].dataset_id
    schema = words(person.get(f"/ui/prod/datasets/{dataset_id}"))
    for column in ("id int Nullable", "day string Nullable", "price decimal(10,4) Nullable"):
        assert column in schema


def test_columns_that_the_dataset_has_offer_no_type(deployed: Deployment) -> None:
    deployed.import_rows("orders", [{"id": 1, "city": "Bern"}])
    person = signed_in(deployed)
    review = send(person, ("b.csv", b"id,city,extra\n3,Lima,x\n"), name="orders").headers["location"]
    shown, _ = form_of(person.get(f"{review}?evolve=true"), "options")
    assert shown["columnType"] == [""]


def test_return_in_a_field_checks_and_does_not_import(deployed: Deployment) -> None:
    person = signed_in(deployed)
    _, buttons = form_of(person.get(send(person, ("a.csv", CSV)).headers["location"]), "options")
    assert "formaction" not in buttons[0]


def test_a_file_of_excel_in_windows_1252_is_read_with_one_button(deployed: Deployment) -> None:
    person = signed_in(deployed)
    review = send(person, ("a.csv", "id;city\n1;Zürich €\n".encode("cp1252"))).headers["location"]
    page = person.get(review)
    assert "line 2, column city: the bytes are not valid UTF-8" in words(page)
    assert re.search('<details class="more" open><summary>More options for CSV', page)
    (link,) = re.findall('href="([^"]+charset=cp1252[^"]*)"', page)
    page = person.get(link.replace("&amp;", "&"))
    assert "Zürich €" in page
    assert "Read it as Windows-1252" not in page
    assert form_of(page, "options")[0]["charset"] == ["cp1252"]


def test_numbers_and_dates_with_commas_and_dots_that_become_text_are_noted(deployed: Deployment) -> None:
    person = signed_in(deployed)
    content = b"id;betrag;datum;plz;text\n1;1.234,50;31.12.2024;08001;1,5\n2;12;1.1.2025;08002;about 1,5\n"
    review = send(person, ("a.csv", content)).headers["location"]
    page = words(person.get(review))
    assert 'Column betrag has numbers with a decimal comma, such as "1.234,50". It becomes text (string).' in page
    assert "For numbers, write 1234.50 in the file." in page
    assert 'Column datum has dates, such as "31.12.2024".' in page
    assert "write 2024-12-31 in the file" in page
    chosen = words(person.get(f"{review}&columnType=betrag%3Astring"))
    assert "decimal comma" not in chosen
    assert "Column datum has dates" in chosen


@pytest.mark.parametrize(
    ("text", "number", "date"),
    [
        ("1.234,50", "1234.50", None),
        ("-0,5", "-0.5", None),
        ("1'234,5", "1234.5", None),
        ("1.234.567", "1234567", None),
        ("1.234", None, None),
        ("1234", None, None),
        ("1,2,3", None, None),
        ("1.9.2026", None, "2026-09-01"),
        ("10.0.0.1", None, None),
        ("", None, None),
    ],
)
def test_european_numbers_and_dates_are_recognised(text: str, number: str | None, date: str | None) -> None:
    assert (regional_text.plain_number(text), regional_text.plain_date(text)) == (number, date)


def test_a_file_that_would_join_a_dataset_makes_a_new_one_instead(deployed: Deployment) -> None:
    person = signed_in(deployed)
    for name in ("orders", "orders 2"):
        deployed.import_rows(name, rows(0, 3))
    page = person.get(send(person, ("orders.csv", CSV)).headers["location"])
    assert "added to orders (3 rows)" in words(page) or "cannot be imported" in words(page)
    answer = pressed(person, page, "/new-dataset", {"delimiter": ","})
    page = person.get(answer.headers["location"])
    shown, buttons = form_of(page, "options")
    assert (shown["name"], shown["delimiter"]) == (["orders 3"], [","])
    assert not any("new-dataset" in (one.get("formaction") or "") for one in buttons)
    pressed(person, page, "/commit")
    assert all_names(deployed) == ["orders", "orders 2", "orders 3"]


def test_a_batch_with_a_format_keeps_its_dataset(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 1))
    body = {"datasetId": dataset_id, "inputFormat": {"format": "csv"}}
    batch_id = deployed.post("/data/foundation/import/batches", body)["id"]
    path = f"/data/foundation/import/batches/{batch_id}/datasets/{dataset_id}/files/x.csv"
    headers = {"content-type": "application/octet-stream"}
    assert deployed.http.put(path, content=CSV, headers=headers).status_code == 201
    person = signed_in(deployed)
    assert "new-dataset" not in person.get(f"{FORM}/{batch_id}")
    person.post(f"{FORM}/{batch_id}/new-dataset", {}, 400)


def test_a_spreadsheet_is_refused_with_the_way_to_save_it(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = words(send(person, ("x.XLSX", b"x"), status=422).text)
    assert "In Excel: File → Save as → CSV UTF-8" in page


def test_after_the_import_the_dataset_is_exported_or_the_next_deliveries_are_named(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get(send(person, ("kunden.csv", CSV)).headers["location"])
    url = pressed(person, page, "/commit").headers["location"]
    assert "Export this dataset" not in person.get(url)
    deployed.ingest_due()
    page = person.get(url)
    dataset_id = url.split("/")[4]
    assert "<title>kunden.csv → kunden" in page
    assert f'href="/ui/prod/export?dataset={dataset_id}"' in page
    assert "Created by administrator" in words(page)
    viewer = signed_in(deployed, deployed.new_client("view-datasets", "view-destinations"))
    assert "Export this dataset" not in viewer.get(url)
    flow_id = deployed.flow(dataset_id)
    deployed.run_due()
    text = words(person.get(url))
    assert "Export this dataset" not in text
    assert "flow delivers them in 3 h" in text
    assert f"/ui/prod/flows/{flow_id}" in person.get(url)


def test_an_import_from_the_wizard_leads_back_to_it_with_the_dataset(deployed: Deployment) -> None:
    person = signed_in(deployed)
    wizard = person.get("/ui/prod/export?destination=10440537-2a7b-4583-ac39-ed38d4b848e8&account=new&step=2")
    (link,) = re.findall(r'href="(/ui/prod/datasets/import\?next=[^"]+)"', wizard)
    assert "step%3D2" in link
    following = "/ui/prod/export?step=2"
    assert following in person.get(f"{FORM}?next={quote(following)}")
    review = send(person, ("kunden.csv", CSV), following=following).headers["location"]
    url = pressed(person, person.get(review), "/commit").headers["location"]
    deployed.ingest_due()
    assert f'href="{following}&amp;dataset={url.split("/")[4]}"' in person.get(url)
    for wrong in ("https://evil.example/", "//evil.example/ui/", "/ui/\\evil"):
        assert "evil" not in person.get(f"{url.split('?')[0]}?next={quote(wrong)}")
        assert "evil" not in send(person, ("k.csv", CSV), following=wrong).headers["location"]
