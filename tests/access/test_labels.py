"""What is labelled is seen by those who have every label of it."""

import pytest
from sqlalchemy import select

from offtake.access import labels
from offtake.contract.caller import ALL, Caller, Grants
from offtake.errors import InvalidInputError
from offtake.store.database import Database
from offtake.store.tables import Label


def caller(*having: str) -> Caller:
    grants = Grants(frozenset(), frozenset(), frozenset(having))
    return Caller("org", "sandbox", "prod", "client", "account", "user", grants)


@pytest.mark.parametrize(
    ("on_it", "having", "seen"),
    [
        ([], [], True),
        ([], ["a"], True),
        (["a"], [], False),
        (["a"], ["b"], False),
        (["a"], ["a"], True),
        (["a", "b"], ["a"], False),
        (["a", "b"], ["b", "a", "c"], True),
        (["a", "b"], [ALL], True),
    ],
)
def test_what_is_labelled_is_seen_by_who_has_every_label(
    database: Database, on_it: list[str], having: list[str], seen: bool
) -> None:
    one = Label.__table__.alias("anything with an id").c.entity_id
    with database.writing() as session:
        labels.set_labels(session, "it", on_it)
        session.add(Label(entity_id="other", label="x"))
        session.add(Label(entity_id="it", label="on everything"))
        session.flush()
        found = session.scalars(
            select(one).where(one == "it", labels.visible(one, caller("on everything", *having)))
        ).first()
    assert (found is not None) is seen


def test_setting_labels_replaces_them_and_none_takes_them_away(database: Database) -> None:
    with database.writing() as session:
        assert labels.set_labels(session, "it", ["b", "a", "b"]) == ["a", "b"]
        assert labels.labels_of(session, "it") == ["a", "b"]
        labels.set_labels(session, "it", ["b", "ü"])
        assert labels.labels_of(session, "it") == ["b", "ü"]
        labels.set_labels(session, "it", [])
        assert labels.labels_of(session, "it") == []


def test_labels_come_in_the_order_they_were_set_in_whatever_the_order_of_the_database(database: Database) -> None:
    without_case = {"sqlite": "NOCASE", "postgresql": '"en-x-icu"'}[database.engine.dialect.name]
    columns = f"entity_id VARCHAR, label VARCHAR COLLATE {without_case}, PRIMARY KEY (entity_id, label)"
    with database.schema_transaction() as connection:
        connection.exec_driver_sql("DROP TABLE labels")
        connection.exec_driver_sql(f"CREATE TABLE labels ({columns})")
    with database.writing() as session:
        put = labels.set_labels(session, "it", ["a", "B"])
        assert labels.labels_of(session, "it") == put


@pytest.mark.parametrize("label", ["", " a", "a\n", "a\x00", "*", "x" * 101])
def test_a_label_that_cannot_be_used_is_refused(database: Database, label: str) -> None:
    with database.writing() as session, pytest.raises(InvalidInputError):
        labels.set_labels(session, "it", [label])
