"""Names of tables, as datasets and plans store them.

A table of the deployment's own lake is `namespace.table`. A registered table, of another catalog, is a URI:
`iceberg://CATALOG_ID/namespace/table?uuid=UUID`, with every step percent-encoded. The UUID is the table's own: a table
that was dropped and made again under the same name has another one.
"""

import json
from dataclasses import dataclass
from typing import Final, NewType
from urllib.parse import parse_qs, quote, unquote, urlsplit

TableName = NewType("TableName", str)
"""`namespace.table` in the own lake, or the URI of a registered table."""

FILES: Final = "files"
"""The namespace of tables without a catalog; the name of such a table is the location of its metadata."""
_SCHEME: Final = "iceberg"


@dataclass(frozen=True)
class RegisteredTable:
    """A table of another catalog. `identifier`: its namespace's steps and its name."""

    catalog_id: str
    identifier: tuple[str, ...]
    uuid: str

    def __str__(self) -> str:
        """The identifier as people write it."""
        return write_identifier(self.identifier)


def write_identifier(identifier: tuple[str, ...]) -> str:
    """Steps as people write them: joined by dots, or as a JSON list if a step has a dot itself.

    Tables without a catalog are written as the location of their metadata.
    """
    if identifier[0] == FILES and "/" in identifier[-1]:
        return identifier[-1]
    plain = all("." not in one for one in identifier) and not identifier[0].startswith("[")
    return ".".join(identifier) if plain else json.dumps(list(identifier), ensure_ascii=False)


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
