import re
from pathlib import Path

import pytest

from offtake.access import labels
from offtake.catalog import dataset_labels, dataset_lists
from tests.deployment import Deployment, rows
from tests.web.browsing import Visitor, signed_in, visitor, words

HOSTILE = '<img src=x onerror="alert(1)">' + "فواتير" * 30


def path_of(dataset_id: str, tab: str = "") -> str:
    return f"/ui/prod/datasets/{dataset_id}" + (f"/{tab}" if tab else "")


def entered(deployed: Deployment, *permissions: str, labels: tuple[str, ...] = ()) -> Visitor:
    """A person with only these permissions, who cannot see the deliveries."""
    client, person = deployed.new_client(*permissions, labels=labels), visitor(deployed)
    person.post("/ui/sign-in", {"client_id": client.client_id, "client_secret": client.client_secret})
    return person


def test_an_empty_list_leads_to_the_import(deployed: Deployment) -> None:
    page = signed_in(deployed).get("/ui/prod/datasets")
    assert "No datasets yet" in words(page)
    assert 'href="/ui/prod/datasets/import"' in page


def test_the_list_is_found_by_name_and_sorted_by_what_the_url_says(deployed: Deployment) -> None:
    for name, count in (("Orders", 5), ("Customers", 9), ("100% off_ers", 1)):
        deployed.import_rows(name, rows(0, count))
        deployed.clock.advance(seconds=1)
    person = signed_in(deployed)

    def names(query: str) -> list[str]:
        text = words(person.get(f"/ui/prod/datasets?{query}"))
        return sorted((one for one in ("Orders", "Customers", "100% off_ers") if one in text), key=text.index)

    assert names("") == ["100% off_ers", "Customers", "Orders"]
    assert names("sort=rows&order=desc") == ["Customers", "Orders", "100% off_ers"]
    assert names("sort=last&order=asc") == ["Orders", "Customers", "100% off_ers"]
    assert names("q=ORD") == ["Orders"]
    assert names("q=0%25 off_") == ["100% off_ers"]
    assert names("sort=nonsense&order=up&from=x") == names("")
    assert "No dataset matches" in words(person.get("/ui/prod/datasets?q=nothing"))


def test_the_list_has_fifty_datasets_a_page(deployed: Deployment) -> None:
    for number in range(51):
        deployed.post("/data/foundation/catalog/dataSets", {"name": f"D{number:02}"})
    person = signed_in(deployed)
    first = person.get("/ui/prod/datasets")
    assert "D49" in first
    assert "D50" not in first
    assert "/ui/prod/datasets?from=50" in first
    assert "D50" in person.get("/ui/prod/datasets?from=50")
    with deployed.backend.database.reading() as session:
        assert len(dataset_lists.page(session, deployed.caller, "", "size", 40, 100)) == 11


def test_every_part_of_a_dataset_shows_hostile_values_as_text(deployed: Deployment) -> None:
    many = [{"id": 12345678901234567, "who": {"name": HOSTILE, "tags": [1, None]}, "text": HOSTILE * 50, "none": None}]
    dataset_id = deployed.import_rows(HOSTILE, many)
    deployed.flow(dataset_id)
    deployed.run_due()
    deployed.sign_in()
    person = signed_in(deployed)
    pages = {tab: person.get(path_of(dataset_id, tab)) for tab in ("", "preview", "batches", "snapshots", "settings")}
    pages["list"] = person.get("/ui/prod/datasets")
    pages["exports"] = person.get(path_of(dataset_id, "exports"))
    for page in pages.values():
        assert "<img src=x" not in page
    assert {"who", "struct", "name", "list<long>"} <= set(words(pages[""]).split())
    assert "12345678901234567" in pages["preview"]
    assert '"tags": [1, null]' in words(pages["preview"]) or "…" in words(pages["preview"])
    assert HOSTILE * 2 not in words(pages["preview"]).replace("…", "")
    assert "Up to date" in words(pages["exports"])
    assert "append" in words(pages["snapshots"])


def test_a_wide_dataset_is_previewed_some_columns_at_a_time(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("wide", [{f"column_{number:03}": number for number in range(90)}])
    person = signed_in(deployed)
    first = person.get(path_of(dataset_id, "preview"))
    assert "column_039" in first
    assert "column_040" not in first
    assert "column_040" in person.get(path_of(dataset_id, "preview?from=40"))


def test_a_person_sees_and_may_do_what_the_permissions_allow(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 3))
    viewer = entered(deployed, "view-datasets")
    for tab in ("", "preview", "batches", "snapshots", "settings"):
        page = viewer.get(path_of(dataset_id, tab))
        assert "Import a file" not in page
        assert "Delete dataset" not in page
        assert "Exported by" not in page
    viewer.get(path_of(dataset_id, "exports"), 403)
    for path, form in (
        ("labels", {"labels": "x", "etag": "*"}),
        ("evolves", {"evolves": "true"}),
        ("delete", {"typed": "orders"}),
    ):
        viewer.post(path_of(dataset_id, path), form, 403)
    viewer.get("/ui/prod/datasets/new", 403)
    viewer.post("/ui/prod/datasets/new", {"name": "x"}, 403)
    stranger = entered(deployed, "view-destinations")
    stranger.get("/ui/prod/datasets", 403)
    stranger.get(path_of(dataset_id), 403)


def test_a_dataset_with_labels_is_hidden_from_others(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("secret", rows(0, 1))
    with deployed.backend.database.writing() as session:
        body = {"labels": ["core/C12"]}
        dataset_labels.replace(session, deployed.caller, dataset_id, body, "*", deployed.clock.now_ms())
    other = entered(deployed, "view-datasets")
    assert "secret" not in words(other.get("/ui/prod/datasets"))
    for tab in ("", "preview", "batches", "snapshots", "settings"):
        other.get(path_of(dataset_id, tab), 404)
    signed = entered(deployed, "view-datasets", labels=("core/C12",))
    assert "core/C12" in words(signed.get("/ui/prod/datasets"))


def labels_form(page: str, sent: str) -> dict[str, str]:
    start = page.index('name="etag" value="') + len('name="etag" value="')
    return {"labels": sent, "etag": page[start : page.index('"', start)].replace("&#34;", '"')}


def stored_labels(deployed: Deployment, dataset_id: str) -> list[str]:
    with deployed.backend.database.reading() as session:
        return labels.labels_of(session, dataset_id)


def test_labels_are_replaced_and_a_stale_form_shows_both_versions(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 1))
    person, other = signed_in(deployed), signed_in(deployed)
    page, theirs = person.get(path_of(dataset_id, "settings")), other.get(path_of(dataset_id, "settings"))
    person.post(path_of(dataset_id, "labels"), labels_form(page, "core/C12\ncore/S1\n"))
    assert stored_labels(deployed, dataset_id) == ["core/C12", "core/S1"]
    stale = other.post(path_of(dataset_id, "labels"), labels_form(theirs, "mine"), 409).text
    assert "Stored now: core/C12, core/S1" in words(stale)
    assert "You sent: mine" in words(stale)
    assert stored_labels(deployed, dataset_id) == ["core/C12", "core/S1"]
    other.post(path_of(dataset_id, "labels"), labels_form(stale, "mine"))
    assert stored_labels(deployed, dataset_id) == ["mine"]


def test_a_wrong_label_is_refused_at_its_field(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 1))
    person = signed_in(deployed)
    page = person.get(path_of(dataset_id, "settings"))
    answer = person.post(path_of(dataset_id, "labels"), labels_form(page, "x" * 101), 422)
    assert "must be 1 to 100 printable characters" in words(answer.text)
    manager = entered(deployed, "manage-datasets")
    page = manager.get(path_of(dataset_id, "settings"))
    answer = manager.post(path_of(dataset_id, "labels"), labels_form(page, "core/C12"), 422)
    assert "needs a role that has it: core/C12" in words(answer.text)
    assert stored_labels(deployed, dataset_id) == []


def test_a_dataset_is_deleted_after_its_flows_were_named(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 3))
    deployed.flow(dataset_id)
    person = signed_in(deployed)
    page = words(person.get(path_of(dataset_id, "settings")))
    assert "3 rows are deleted for good. The runs of flow fail for it." in page
    wrong = person.post(path_of(dataset_id, "delete"), {"typed": "other", "force": "true"}, 422).text
    assert 'name="typed" value="other"' in wrong
    refused = person.post(path_of(dataset_id, "delete"), {"typed": "orders"}, 409)
    assert "is exported by flow" in words(refused.text)
    person.get(path_of(dataset_id))
    answer = person.post(path_of(dataset_id, "delete"), {"typed": "orders", "force": "true"})
    assert "The dataset is deleted" in words(person.get(answer.headers["location"]))
    person.get(path_of(dataset_id), 404)


def test_a_dataset_is_created_with_columns(deployed: Deployment) -> None:
    person = signed_in(deployed)
    person.get("/ui/prod/datasets/new")
    columns = "id long required\r\nfirst name:string\r\ncustomer struct<name: string, zip: required int>\r\n\r\n"
    answer = person.post("/ui/prod/datasets/new", {"name": "Neu", "columns": columns, "evolves": "true"})
    page = words(person.get(answer.headers["location"]))
    for text in ("id long Required", "first name string Nullable", "customer struct Nullable", "zip int Required"):
        assert text in page.replace("Level 2: ", "")
    assert "Schema Can grow" in page


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"name": ""}, "must be 1 to 255 characters"),
        ({"name": "x" * 256}, "must be 1 to 255 characters"),
        ({"name": "taken"}, "already has the name taken"),
        ({"name": "x", "columns": "id wrongtype"}, "Line 1: Column id"),
        ({"name": "x", "columns": "id long\nid long"}, "declared twice"),
        ({"name": "x", "columns": "<script>"}, "Line 1"),
    ],
)
def test_a_wrong_dataset_is_refused_at_its_fields(deployed: Deployment, form: dict[str, str], problem: str) -> None:
    deployed.import_rows("taken", rows(0, 1))
    person = signed_in(deployed)
    person.get("/ui/prod/datasets/new")
    answer = person.post("/ui/prod/datasets/new", form, 422)
    assert problem in words(answer.text)
    assert "<script>" not in answer.text
    assert "x" * 256 in answer.text or form["name"] != "x" * 256


def test_a_batch_is_reverted_and_its_page_follows(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 3))
    person = signed_in(deployed)
    batch = _first_batch(person, dataset_id)
    assert "3 rows are in the dataset." in words(person.get(batch))
    person.post(f"{batch}/revert")
    page = person.get(batch)
    assert "data-poll" in page
    assert "Reverting" in words(page)
    deployed.ingest_due()
    page = person.get(batch)
    assert "data-poll" not in page
    assert "not in the dataset any more" in words(page)
    person.get(batch.replace(dataset_id, deployed.import_rows("other", rows(0, 1))), 404)


def _first_batch(person: Visitor, dataset_id: str) -> str:
    page = person.get(path_of(dataset_id, "batches"))
    start = page.index(f'href="{path_of(dataset_id, "batches")}/') + len('href="')
    return page[start : page.index('"', start)]


def test_a_table_that_cannot_be_read_is_explained(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 3))
    person = signed_in(deployed)
    for path in Path(deployed.backend.settings.data_dir).rglob("*.metadata.json"):
        path.unlink()
    for tab in ("", "preview", "snapshots"):
        assert "cannot be read" in words(person.get(path_of(dataset_id, tab)))
    for tab in ("batches", "exports", "settings"):
        assert "orders" in words(person.get(path_of(dataset_id, tab)))
    assert "orders" in words(person.get("/ui/prod/datasets"))
    person.post(path_of(dataset_id, "delete"), {"typed": "orders"})


def test_each_part_of_a_dataset_has_one_primary_action(deployed: Deployment) -> None:
    dataset_id, person = deployed.import_rows("orders", rows(0, 3)), signed_in(deployed)
    for part in ("exports", "batches", "settings", "preview"):
        assert person.get(path_of(dataset_id, part)).count("button primary") == 1, part


def test_a_dataset_is_renamed_from_the_version_that_the_form_was_made_from(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 1))
    deployed.import_rows("taken", rows(0, 1))
    person, other = signed_in(deployed), signed_in(deployed)

    def form(page: str, name: str) -> dict[str, str]:
        found = re.search('name="version" value="([^"]+)"', page)
        assert found is not None
        return {"version": found[1], "name": name}

    mine, theirs = (one.get(path_of(dataset_id, "settings")) for one in (person, other))
    for wrong, problem in (("taken", "already has the name taken"), (" ", "must be 1 to 255 characters")):
        assert problem in words(person.post(path_of(dataset_id, "name"), form(mine, wrong), 422).text)
    renamed = person.post(path_of(dataset_id, "name"), form(mine, "Bestellungen")).headers["location"]
    page = words(person.get(renamed))
    assert "The dataset is renamed. Its name is now Bestellungen." in page
    assert "Bestellungen" in page
    assert "Changed by administrator" in page
    stale = words(other.post(path_of(dataset_id, "name"), form(theirs, "Orders 2"), 409).text)
    assert "Its name now: Bestellungen You sent: Orders 2" in stale
    viewer = entered(deployed, "view-datasets")
    assert "Rename" not in viewer.get(path_of(dataset_id, "settings"))
    viewer.csrf = viewer.csrf or person.csrf
    viewer.post(path_of(dataset_id, "name"), form(mine, "Theirs"), 403)


def test_the_last_import_in_the_list_is_not_one_that_was_discarded(deployed: Deployment) -> None:
    dataset_id = deployed.import_rows("orders", rows(0, 1))
    deployed.clock.advance(seconds=600)
    for action in ("ABORT", ""):
        body = {"datasetId": dataset_id, "inputFormat": {"format": "json"}}
        batch_id = deployed.post("/data/foundation/import/batches", body)["id"]
        if action:
            deployed.post(f"/data/foundation/import/batches/{batch_id}?action={action}", {}, 200)
    page = words(signed_in(deployed).get("/ui/prod/datasets"))
    assert "Imported 10 min ago" in page
    assert "Discarded" not in page
