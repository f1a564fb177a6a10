"""Stored secrets: encrypted in the vault, shown as a mask, and bound to the server that receives them.

A client that changes a resource sends the mask for a secret that is to stay. It stays only if nothing changes that
decides where, or as whom, it is used: otherwise it could be sent to a server that it was not given for.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.destinations.schema import MASK
from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError
from offtake.store.vault import Vault, VaultError


@dataclass
class SecretNeededError(Problem):
    """Error 1452: secrets must be sent again. `changed`: the fields that bind them, as far as they are known."""

    changed: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


def masked(values: Mapping[str, Any], secret: Iterable[str]) -> list[str]:
    """The secrets for which the mask was sent. `secret`: the keys of all secrets."""
    return [key for key in secret if values.get(key) == MASK]


def replaced(values: Mapping[str, Any], secret: Iterable[str]) -> list[str]:
    """The secrets that were sent, by which stored ones are replaced."""
    return [key for key in secret if values.get(key) not in (None, MASK)]


def check_sent(values: Mapping[str, Any], secret: Iterable[str], path: str) -> None:
    """Raise 1452 for a mask in a new resource. `path`: of the object that has the secrets, such as `/settings`."""
    if kept := masked(values, secret):
        raise _is_mask(f"{path}/{kept[0]}")


def decrypt(row_id: str, sealed: bytes | None, vault: Vault, kept: list[str], path: str) -> Json:
    """The stored secrets; none if the vault cannot decrypt them and all are sent.

    `kept`: those for which the mask was sent. Raises `SecretNeededError` if these cannot be decrypted.
    """
    try:
        return vault.decrypt(row_id, sealed) if sealed is not None else {}
    except VaultError as error:
        if kept:
            raise _needed(kept, str(error), path) from None
        return {}


def fill_in(
    values: Json, stored: Mapping[str, Any], kept: Collection[str], path: str, changed: Callable[[Json], list[str]]
) -> Json:
    """The values as sent, with stored secrets in place of masks.

    `changed` returns the fields that bind the secrets and differ in the result. Raises `SecretNeededError` if there
    are any, and 1452 for the mask of a secret that is not stored.
    """
    if not kept:
        return dict(values)
    unknown = [key for key in kept if stored.get(key) in (None, MASK)]
    if unknown:
        raise _is_mask(f"{path}/{unknown[0]}")
    filled = {**values, **{key: stored[key] for key in kept}}
    if elsewhere := changed(filled):
        raise moved(kept, elsewhere, path)
    return filled


def encrypt(row_id: str, values: Json, secret: Collection[str], vault: Vault) -> tuple[Json, bytes | None]:
    """The values to show, with secrets masked, and the encrypted secrets; None without any."""
    sealed = {key: value for key, value in values.items() if key in secret}
    shown = {key: MASK if key in sealed else value for key, value in values.items()}
    return shown, vault.encrypt(row_id, sealed) if sealed else None


def moved(kept: Collection[str], changed: list[str], path: str) -> SecretNeededError:
    """The error for secrets that were not sent, although fields that bind them change."""
    why = f"{', '.join(changed)} changes, and a stored secret is bound to its endpoint"
    return _needed(kept, why, path, changed)


def _needed(secrets: Collection[str], why: str, path: str, changed: Iterable[str] = ()) -> SecretNeededError:
    found = [FieldProblem(f"{path}/{key}", f"must be sent again: {why}") for key in secrets]
    refused = problems.of_fields(InvalidInputError(found))
    return SecretNeededError(
        refused.code, refused.message, fields=refused.fields, changed=list(changed), secrets=list(secrets)
    )


def _is_mask(path: str) -> Problem:
    return problems.of_field(path, "is the mask of a secret; send the secret")
