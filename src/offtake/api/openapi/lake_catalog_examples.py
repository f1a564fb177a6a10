"""Invented examples of catalogs of others, an extension of Catalog."""

from typing import Final

from offtake.api.openapi import examples
from offtake.api.openapi.examples import STAMP
from offtake.documents import Json

CATALOG_ID: Final = "0b6b1f0a-5a43-4a4c-9b13-6d2d1f6f8a11"
_ETAG: Final = '"26013a41-0000-4200-8000-6361687a0000"'
_PROPERTIES: Final[Json] = {
    "uri": "https://polaris.example.org/api/catalog",
    "warehouse": "analytics",
    "credential": "********",
}
NEW_CATALOG: Final[Json] = {
    "name": "lakehouse",
    "type": "rest",
    "properties": _PROPERTIES | {"credential": "reader:a secret"},
}
CATALOG: Final[Json] = {
    "id": CATALOG_ID,
    **STAMP,
    "name": "lakehouse",
    "type": "rest",
    "properties": _PROPERTIES,
    "version": _ETAG,
    "etag": _ETAG,
}
CATALOGS: Final[Json] = examples.page(CATALOG, "/lakeCatalogs")
CHANGED: Final[Json] = {"id": CATALOG_ID, "etag": _ETAG}
TESTED: Final[Json] = {
    "result": True,
    "namespaces": [{"name": "sales", "steps": ["sales"]}],
    "tableUuid": "5f0c6b39-6f1c-4c0a-9f6e-2f4f6f1c7a10",
}
TYPES: Final[Json] = {
    "types": [
        {
            "type": "rest",
            "title": "REST catalog",
            "description": "A server with Iceberg's REST protocol.",
            "operatorOnly": False,
            "properties": [
                {
                    "name": "uri",
                    "description": "URL of the catalog.",
                    "required": True,
                    "secret": False,
                    "operatorOnly": False,
                }
            ],
        }
    ]
}
_LINKS: Final[Json] = {"next": {"href": f"/lakeCatalogs/{CATALOG_ID}/tables?namespace=sales&start=100"}}
NAMESPACES: Final[Json] = {"items": [{"name": "sales", "steps": ["sales"]}], "_links": {}, "count": 1, "total": 1}
TABLES: Final[Json] = {
    "items": [{"name": "sales.orders", "steps": ["sales", "orders"]}],
    "_links": _LINKS,
    "count": 1,
    "total": 240,
}
REGISTRATION: Final[Json] = {"name": "orders", "table": "sales.orders"}
KEPT: Final[Json] = {
    "id": "7d0f3c52-6a0e-4b0a-9c55-0f2f2a1f7b22",
    "namespace": "sales",
    "steps": ["sales"],
    "tables": 240,
    "syncedAt": 1772343000123,
    "problem": None,
    "refused": {"summary": "sales.summary of catalog lakehouse is a view, which has no files."},
    "excluded": ["scratch"],
}
ROUND: Final[Json] = {
    "appeared": ["sales.orders"],
    "gone": [],
    "collisions": {},
    "refused": {"summary": "sales.summary of catalog lakehouse is a view, which has no files."},
    "problem": None,
    "tables": 240,
    "more": False,
}
