"""Compares declared secrets with the stored ones, by keyed hashes: no secret is sent, and the server stores no hash."""

import secrets as random
from collections.abc import Mapping
from typing import Final, Literal

from offtake.client.problems import ServerError
from offtake.declarations import secrets
from offtake.declarations.context import Context
from offtake.declarations.state import MANAGED

_KEY_BYTES: Final = 32


def changed_secrets(
    context: Context, kind: Literal["alert-channel", "catalog", "connection"], declared: Mapping[str, Mapping[str, str]]
) -> dict[str, set[str]]:
    """By resource id, the names of declared secrets that differ from the stored ones. Sends one request.

    `declared`: by resource id, the secrets by name. Without the extension, secrets count as unchanged, with a note.
    """
    wanted = {resource_id: values for resource_id, values in declared.items() if values}
    if not wanted:
        return {}
    if context.options.send_secrets:
        return {resource_id: set(values) for resource_id, values in wanted.items()}
    key = random.token_bytes(_KEY_BYTES)
    resources = [
        {
            "kind": kind,
            "id": resource_id,
            "secrets": {name: secrets.digest(key, kind, resource_id, name, value) for name, value in values.items()},
        }
        for resource_id, values in wanted.items()
    ]
    try:
        answer = context.server.post(f"{MANAGED}/secrets", {"key": key.hex(), "resources": resources})
    except ServerError as error:
        if not error.is_not_served:
            raise
        context.notes.append(
            f"The server {context.server.name} cannot compare secrets (an extension of Offtake): they are taken as "
            "unchanged. --send-secrets sends them."
        )
        return {}
    return {one["id"]: set(one["changed"]) for one in answer["resources"]}
