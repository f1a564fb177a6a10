"""Encryption of exported files as a base connection states it: three published spellings, one stored (contract, 9)."""

import base64
import binascii
from typing import Any, Final

from offtake.flows import problems
from offtake.flows.entities import Json

_NAMES: Final = ("Encryption spec", "File PGP/GPG Encryption", "File Encryption")
_ON: Final = ("PGPGPG", "PGP/GPG")
_OFF: Final = "NONE"
_BEGIN: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END: Final = b"-----END PGP PUBLIC KEY BLOCK-----"


def parse(sent: object, path: str) -> Json | None:
    """What is stored for what was sent, an object or an array of one; None for no encryption.

    Raises `Problem` naming the field below `path`.
    """
    one = sent[0] if isinstance(sent, list) and len(sent) == 1 else sent
    if one is None or one == []:
        return None
    if not isinstance(one, dict):
        raise problems.of_field(path, "must be an object, or an array of one")
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
    key = _public_key(params.get("publicKey"), f"{path}/params/publicKey")
    return {"specName": "File Encryption", "params": {"encryptionAlgo": "PGP/GPG", "publicKey": key}}


def _public_key(sent: Any, path: str) -> str:  # noqa: ANN401 - whatever JSON can hold
    if not isinstance(sent, str):
        raise problems.of_field(path, "is required: the Base64 form of an armored PGP public key", missing=True)
    try:
        armored = base64.b64decode("".join(sent.split()), validate=True).strip()
    except (binascii.Error, ValueError):
        armored = b""
    if not armored.startswith(_BEGIN) or not armored.endswith(_END):
        raise problems.of_field(path, f"must be the Base64 form of a key that begins with {_BEGIN.decode()}")
    return "".join(sent.split())
