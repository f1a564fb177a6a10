"""Encryption of exported files in a base connection: three published forms, one stored form (contract, 9)."""

import base64
import binascii
from typing import Any, Final

from offtake.contract import problems
from offtake.documents import Json
from offtake.formats import pgp

_NAMES: Final = ("Encryption spec", "File PGP/GPG Encryption", "File Encryption")
_ON: Final = ("PGPGPG", "PGP/GPG")
_OFF: Final = "NONE"


def parse(sent: object, path: str) -> Json | None:
    """Parse an object, or an array with one object, into the stored form; None for no encryption.

    The key must be usable for encryption now. Raises `Problem` naming the field below `path`.
    """
    one = sent[0] if isinstance(sent, list) and len(sent) == 1 else sent
    if one is None or one == []:
        return None
    if not isinstance(one, dict):
        raise problems.of_field(path, "must be an object, or an array with one object")
    params = one.get("params")
    if one.get("specName") not in _NAMES:
        raise problems.of_field(f"{path}/specName", f"must be one of {', '.join(_NAMES)}")
    if not isinstance(params, dict):
        raise problems.of_field(f"{path}/params", "is required: encryptionAlgo and publicKey", missing=True)
    algorithm = str(params.get("encryptionAlgo", _ON[0])).upper()
    if algorithm == _OFF:
        return None
    if algorithm not in _ON:
        raise problems.of_field(f"{path}/params/encryptionAlgo", f"must be {', '.join((*_ON, _OFF))}")
    key = _checked_key(params.get("publicKey"), f"{path}/params/publicKey")
    return {"specName": "File Encryption", "params": {"encryptionAlgo": "PGP/GPG", "publicKey": key}}


def public_key(stored: Json) -> bytes:
    """The armored key in the stored form."""
    return base64.b64decode(stored["params"]["publicKey"])


def _checked_key(sent: Any, path: str) -> str:  # noqa: ANN401 - any JSON value
    if not isinstance(sent, str):
        raise problems.of_field(path, "is required: an armored PGP public key, encoded as Base64", missing=True)
    try:
        armored = base64.b64decode("".join(sent.split()), validate=True)
    except (binascii.Error, ValueError):
        raise problems.of_field(path, "must be an armored PGP public key, encoded as Base64") from None
    problem = pgp.check_key(armored)
    if problem is not None:
        raise problems.of_field(path, problem)
    return "".join(sent.split())
