"""Keys as users give them for SFTP: their own private key, and the fingerprint of their server's.

Checked when they are given, with a library that is always installed; nothing here repeats what was given.
"""

import base64
import binascii
import re
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

_OPENSSH: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


def fingerprint(text: str) -> str:
    """A fingerprint as `ssh-keygen -l` shows it; raises `ValueError` for anything else."""
    found = text.strip().removesuffix("=")
    if not _FINGERPRINT.fullmatch(found):
        raise ValueError("must be SHA256: and 43 characters, as ssh-keygen -l shows it")
    return found


def private_key(text: str, passphrase: str | None) -> bytes:
    """The key in OpenSSH's own form, without passphrase; raises `ValueError` saying why it cannot be used.

    `text`: Base64 of an Ed25519, RSA or ECDSA key in OpenSSH's or PEM form (PKCS#1, SEC 1, PKCS#8).
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be the Base64 of a private SSH key's file") from None
    if data.startswith((b"ssh-", b"ecdsa-sha2-", b"-----BEGIN PUBLIC", b"---- BEGIN SSH2 PUBLIC")):
        raise ValueError("holds a public key; the private one is needed")
    if data.startswith(b"PuTTY-"):
        raise ValueError("holds a key in PuTTY's form; export it in OpenSSH's")
    if not data.lstrip().startswith(b"-----BEGIN "):
        raise ValueError("holds no private SSH key once its Base64 is decoded")
    key = _load(data, passphrase.encode() if passphrase else None)
    known = isinstance(key, Ed25519PrivateKey | RSAPrivateKey)
    if not known and not (isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES):
        raise ValueError("must be an Ed25519 or RSA key, or an ECDSA key on the curve P-256, P-384 or P-521")
    assert isinstance(key, Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey)  # noqa: S101 - refused above
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _load(data: bytes, passphrase: bytes | None) -> object:
    load = load_ssh_private_key if data.lstrip().startswith(_OPENSSH) else load_pem_private_key
    try:
        return load(data, passphrase)
    except TypeError:
        # Raised for one of two mismatches: a passphrase that is missing, and one that the key has no use for.
        if passphrase is None:
            raise ValueError("is encrypted; send its passphrase too") from None
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            raise ValueError("is encrypted in OpenSSH's form, for which this server lacks bcrypt; use PEM") from None
        raise ValueError("is of a kind that is not supported") from None
    except ValueError:
        if passphrase is not None:
            raise ValueError("cannot be read: the passphrase is wrong, or the key is damaged") from None
        raise ValueError("holds no private SSH key that can be read") from None
    return load(data, None)
