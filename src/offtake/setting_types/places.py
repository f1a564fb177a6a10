"""The places of a deployment: its folder, databases, warehouse, uploads and keys."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from offtake.setting_types.reading import json_of, text_of, with_driver

DataDir = Annotated[
    Path,
    Field(description="Folder of the embedded defaults: store, catalog, warehouse, uploads, landing zone and keys."),
]
ReadersGroup = Annotated[
    str | None,
    Field(
        description="Name or number of a group of this machine. Its members may read the warehouse and the landing "
        "zone, where these are folders, and the files in them; no other user can read any file. When the setting is "
        "removed, folders outside of the data directory stay readable by the group. Default: no group."
    ),
]
DatabaseUrl = Annotated[
    str | None,
    BeforeValidator(with_driver),
    Field(
        description="URL of the store's database, such as `postgresql://offtake@db.example.org/offtake`; default: "
        "SQLite in the data directory."
    ),
]
AutoUpgrade = Annotated[
    bool,
    Field(
        description="Whether each command and process migrates the tables of an earlier version of Offtake. If false, "
        "only `offtake init` does, and the others refuse to start until then."
    ),
]
CatalogUrl = Annotated[
    str | None,
    BeforeValidator(with_driver),
    Field(
        description="URL of the Iceberg catalog's database; default: the store's database when that is a server, "
        "else SQLite in the data directory."
    ),
]
Warehouse = Annotated[
    str | None,
    Field(
        description="Place of the datasets' files: a folder (a path or a `file:` URI, taken literally), or "
        "`s3://bucket/folder`, `abfss://container@account.dfs.core.windows.net/folder` or `gs://bucket/folder`. A "
        "relative path depends on the working directory of each command. Default: a folder of the data directory."
    ),
]
Storage = Annotated[
    SecretStr | None,
    BeforeValidator(json_of),
    Field(
        description="Endpoint and credentials of the stores of `warehouse` and `upload_dir`: `name=value` pairs "
        "separated by spaces, or a JSON object, with names such as `s3.endpoint`, `s3.region`, `s3.access-key-id`, "
        "`adls.account-key` or `gcs.service-account-key`. Without credentials, the server's own identity is used."
    ),
]
UploadDir = Annotated[
    str | None,
    BeforeValidator(text_of),
    Field(
        description="Place of files that were uploaded for batches, in the forms of `warehouse`; servers that share a "
        "database must share it. Default: a folder of the data directory."
    ),
]
VaultKey = Annotated[
    SecretStr | None,
    Field(
        description="Key that encrypts stored credentials: base64 of 32 bytes. Default: the file `vault.key` (mode "
        "0600) in the data directory, created at the first start."
    ),
]
VaultOldKeys = Annotated[
    SecretStr | None, Field(description="Earlier values of `vault_key`, separated by commas; used for decryption only.")
]
