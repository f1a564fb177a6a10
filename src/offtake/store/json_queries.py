"""Queries on JSON columns, for SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, cast, exists, func, literal, select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TableValuedAlias


def read_text(document: SQLColumnExpression[Any], key: str) -> ColumnElement[str]:
    """The text under the key of a JSON object; null without it."""
    found: ColumnElement[str] = document[key].as_string()
    return found


def read_number(document: SQLColumnExpression[Any], key: str) -> ColumnElement[int]:
    """The 64-bit integer under the key of a JSON object; null without it."""
    return cast(read_text(document, key), BigInteger)


def json_list_contains(session: Session, texts: SQLColumnExpression[Any], value: str) -> ColumnElement[bool]:
    """The condition that a JSON array of texts contains the value."""
    element = _elements(session, texts)
    return exists().where(element.c.value == value)


def json_list_elements(session: Session, texts: SQLColumnExpression[Any]) -> TableValuedAlias:
    """The elements of a JSON array of texts as a table with the column `value`."""
    return _elements(session, texts)


def json_entry_exists(document: SQLColumnExpression[Any], key: str) -> ColumnElement[bool]:
    """The condition that a JSON object has the key."""
    entry = func.json_each(document).table_valued("key", "value")
    return exists().where(entry.c.key == key)


def json_entry_contains(
    session: Session, document: SQLColumnExpression[Any], key: str, value: ColumnElement[str] | str, *, like: bool
) -> ColumnElement[bool]:
    """The condition that the array under the key of a JSON object contains the text, or, with `like`, a match of it."""
    entry = func.json_each(document).table_valued("key", "value")
    element = _elements(session, entry.c.value)
    matches = func.lower(element.c.value).like(value, escape="\\") if like else element.c.value == value
    both = select(literal(1)).select_from(entry).join(element, true())
    return both.where(entry.c.key == key, matches).exists()


def _elements(session: Session, texts: SQLColumnExpression[Any]) -> TableValuedAlias:
    if session.get_bind().dialect.name == "sqlite":
        return func.json_each(texts).table_valued("value")
    return func.json_array_elements_text(texts).table_valued("value").render_derived()
