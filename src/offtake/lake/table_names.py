"""Names of tables, as datasets and plans store them.

A table of the deployment's own lake is `namespace.table`. A registered table, of another catalog, is a URI:
`iceberg://CATALOG_ID/namespace/table?uuid=UUID`, with every step percent-encoded. The UUID is the table's own: a table
that was dropped and made again under the same name has another one.
"""

from dataclasses import dataclass
from typing import Final, NewType
from urllib.parse import parse_qs, quote, unquote, urlsplit

TableName = NewType("TableName", str)
"""`namespace.table` in the own lake, or the URI of a registered table."""

_SCHEME: Final = "iceberg"


@dataclass(frozen=True)
class RegisteredTable:
    """A table of another catalog. `identifier`: its namespace's steps and its name."""

    catalog_id: str
    identifier: tuple[str, ...]
    uuid: str

    def __str__(self) -> str:
        """The identifier as people write it."""
        return describe(self.identifier)


def describe(identifier: tuple[str, ...]) -> str:
    """The identifier as people write it: its steps with dots between them, or the location of the metadata."""
    return identifier[-1] if "/" in identifier[-1] else ".".join(identifier)


def registered_name(table: RegisteredTable) -> TableName:
    """The name that datasets store."""
    steps = "/".join(quote(step, safe="") for step in table.identifier)
    return TableName(f"{_SCHEME}://{table.catalog_id}/{steps}?uuid={quote(table.uuid, safe='')}")


def parse(name: TableName) -> RegisteredTable | None:
    """The registered table of a name; None for a table of the own lake."""
    if not name.startswith(f"{_SCHEME}://"):
        return None
    split = urlsplit(name)
    steps = tuple(unquote(step) for step in split.path.removeprefix("/").split("/"))
    return RegisteredTable(split.netloc, steps, parse_qs(split.query)["uuid"][0])
