"""Validates SSH keys in SFTP credentials: the user's private key, and the fingerprint of the server's key.

Works without the SSH library, which is an extra. Error messages never contain the submitted text.
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
    """Normalise a fingerprint in the form of `ssh-keygen -l`; raises `ValueError` for anything else."""
    found = text.strip().removesuffix("=")
    if not _FINGERPRINT.fullmatch(found):
        raise ValueError("must be SHA256: and 43 characters, as ssh-keygen -l shows it")
    return found


def private_key(text: str, passphrase: str | None) -> bytes:
    """The key in OpenSSH format without passphrase; raises `ValueError` with the reason when it is unusable.

    `text`: Base64 of an Ed25519, RSA or ECDSA key in OpenSSH or PEM format (PKCS#1, SEC 1, PKCS#8).
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be a private SSH key file, encoded as Base64") from None
    if data.startswith((b"ssh-", b"ecdsa-sha2-", b"-----BEGIN PUBLIC", b"---- BEGIN SSH2 PUBLIC")):
        raise ValueError("is a public key; the private key is required")
    if data.startswith(b"PuTTY-"):
        raise ValueError("is a key in PuTTY format; export it in OpenSSH format")
    if not data.lstrip().startswith(b"-----BEGIN "):
        raise ValueError("does not contain a private SSH key after Base64 decoding")
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
        # Raised for a missing passphrase and for an unnecessary one.
        if passphrase is None:
            raise ValueError("is encrypted; send its passphrase too") from None
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            raise ValueError("is encrypted in OpenSSH format, which needs bcrypt here; use PEM format") from None
        raise ValueError("is of an unsupported type") from None
    except ValueError:
        if passphrase is not None:
            raise ValueError("cannot be read: the passphrase is wrong, or the key is damaged") from None
        raise ValueError("does not contain a readable private SSH key") from None
    return load(data, None)
