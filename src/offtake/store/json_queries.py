"""Looking into columns that hold JSON, on both databases."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, cast, exists, func, literal, select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TableValuedAlias


def read_text(document: SQLColumnExpression[Any], key: str) -> ColumnElement[str]:
    """The text that a JSON object has under the key; null where it has none."""
    found: ColumnElement[str] = document[key].as_string()
    return found


def read_number(document: SQLColumnExpression[Any], key: str) -> ColumnElement[int]:
    """The whole number that a JSON object has under the key, of 64 bits; null where it has none."""
    return cast(read_text(document, key), BigInteger)


def json_list_contains(session: Session, texts: SQLColumnExpression[Any], value: str) -> ColumnElement[bool]:
    """The condition that a JSON array of texts holds the value."""
    element = _elements(session, texts)
    return exists().where(element.c.value == value)


def json_entry_exists(document: SQLColumnExpression[Any], key: str) -> ColumnElement[bool]:
    """The condition that a JSON object has the key."""
    entry = func.json_each(document).table_valued("key", "value")
    return exists().where(entry.c.key == key)


def json_entry_contains(
    session: Session, document: SQLColumnExpression[Any], key: str, value: ColumnElement[str] | str, *, like: bool
) -> ColumnElement[bool]:
    """The condition that a JSON object has, under the key, an array with that text, or with one like that pattern."""
    entry = func.json_each(document).table_valued("key", "value")
    element = _elements(session, entry.c.value)
    wanted = func.lower(element.c.value).like(value, escape="\\") if like else element.c.value == value
    both = select(literal(1)).select_from(entry).join(element, true())
    return both.where(entry.c.key == key, wanted).exists()


def _elements(session: Session, texts: SQLColumnExpression[Any]) -> TableValuedAlias:
    if session.get_bind().dialect.name == "sqlite":
        return func.json_each(texts).table_valued("value")
    return func.json_array_elements_text(texts).table_valued("value").render_derived()
