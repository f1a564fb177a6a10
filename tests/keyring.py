"""OpenPGP keys of every kind, made by the real gpg in a keyring of its own, which also opens what was encrypted."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USABLE = ("rsa", "rsa alone", "curve 25519", "elgamal", "without preferences")
UNUSABLE = {
    "expired": "has expired on 2020-01-02",
    "expired sub-key": "has an encryption subkey that has expired on 2020-01-03",
    "revoked": "is revoked",
    "revoked sub-key": "has an encryption subkey that is revoked",
    "signing only": "has no key or subkey for encryption, only for signing",
    "from the future": "is dated 2040-01-01, which is in the future by this server's clock",
    "secret": "is a secret key, which must never be sent: send the public key",
    "secret, called public": "is a secret key, which must never be sent: send the public key",
    "two": "contains 2 keys; send only the one for encrypting files",
    "two blocks": "contains 2 keys; send only the one for encrypting files",
    "not armored": "must be an armored public key: it starts with -----BEGIN PGP PUBLIC KEY BLOCK-----",
    "no key": "does not contain a readable OpenPGP key",
    "cut short": "does not contain a readable OpenPGP key",
    "forged": "has no key or subkey for encryption",
}
_PAST = ("--faked-system-time", "20200101T000000")
_PRIMARY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "rsa alone": ((), ("rsa2048", "sign,encr", "never")),
    "curve 25519": ((), ("future-default", "default", "never")),
    "signing only": ((), ("rsa2048", "sign", "never")),
    "expired": (_PAST, ("rsa2048", "sign,encr", "1d")),
    "from the future": (("--faked-system-time", "20400101T000000"), ("rsa2048", "sign,encr", "never")),
}
_RSA = ("rsa2048", "encr", "never")
_PAIRS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "rsa": ((), "rsa3072", ("rsa3072", "encr", "never")),
    "revoked": ((), "rsa2048", _RSA),
    "revoked sub-key": ((), "rsa2048", _RSA),
    "forged": ((), "rsa2048", _RSA),
    "elgamal": ((), "dsa2048", ("elg2048", "encr", "never")),
    "expired sub-key": (_PAST, "rsa2048", ("rsa2048", "encr", "2d")),
}


class Keyring:
    """A gpg home. Keys are made when they are first asked for."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._made: dict[str, bytes] = {}

    def key(self, kind: str) -> bytes:
        """The armored public key of that kind, or what looks like one."""
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def short_lived(self, seconds: int) -> bytes:
        """A usable key that expires so soon."""
        name = f"short-{len(self._made)}@example.org"
        self._gpg("--quick-gen-key", name, "rsa2048", "sign,encr", f"seconds={seconds}")
        self._made[name] = self._public(name)
        return self._made[name]

    def home_with(self, name: str) -> Path:
        """The gpg home, for a program that a test runs; it has a key of that name."""
        self._gpg("--quick-gen-key", name, "rsa2048", "sign,encr", "never")
        return self._home

    def decrypt(self, message: bytes) -> bytes:
        """What was encrypted to one of its keys; fails when that is not whole."""
        return self._gpg("--decrypt", given=message)

    def cipher_of(self, message: bytes) -> str:
        """The number of the message's cipher (RFC 4880, section 9.2)."""
        said = self._gpg("--status-fd", "1", "--output", "/dev/null", "--yes", "--decrypt", given=message).decode()
        (line,) = (line for line in said.splitlines() if " DECRYPTION_INFO " in line)
        return line.split()[3]

    def _make(self, kind: str) -> bytes:
        name = f"{kind.replace(' ', '-').replace(',', '')}@example.org"
        if kind in _PRIMARY:
            self._gpg(*_PRIMARY[kind][0], "--quick-gen-key", name, *_PRIMARY[kind][1])
        elif kind in _PAIRS:
            time, primary, encryption = _PAIRS[kind]
            self._gpg(*time, "--quick-gen-key", name, primary, "sign", "never")
            self._gpg(*time, "--quick-add-key", self._fingerprint(name), *encryption)
        elif kind == "without preferences":
            wanted = f"Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign,encrypt\nName-Email: {name}\n"
            self._gpg("--gen-key", given=f"%no-protection\n{wanted}Preferences: none\n%commit\n".encode())
        else:
            return self._look_alike(kind)
        if kind == "revoked":
            certificate = (self._home / "openpgp-revocs.d" / f"{self._fingerprint(name)}.rev").read_bytes()
            self._gpg("--import", given=certificate.replace(b":-----BEGIN", b"-----BEGIN"))
        if kind == "revoked sub-key":
            self._gpg("--command-fd", "0", "--edit-key", name, given=b"key 1\nrevkey\ny\n0\n\ny\nsave\n")
        return self._forged(name) if kind == "forged" else self._public(name)

    def _look_alike(self, kind: str) -> bytes:
        rsa = self.key("rsa")
        if kind.startswith("secret"):
            secret = self._gpg("--armor", "--export-secret-keys", "rsa@example.org")
            return secret if kind == "secret" else secret.replace(b"PRIVATE KEY BLOCK", b"PUBLIC KEY BLOCK")
        return {
            "two": lambda: self._public("rsa@example.org", self._name("curve 25519")),
            "two blocks": lambda: rsa + self.key("curve 25519"),
            "not armored": lambda: self._gpg("--dearmor", given=rsa),
            "no key": lambda: self._armored(b"this is not a key"),
            "cut short": lambda: rsa[:400] + b"\n-----END PGP PUBLIC KEY BLOCK-----\n",
        }[kind]()

    def _forged(self, name: str) -> bytes:
        """The signature that binds the sub-key is another one by a bit."""
        packets = bytearray(self._gpg("--dearmor", given=self._public(name)))
        packets[-100] ^= 1
        return self._armored(bytes(packets))

    def _armored(self, packets: bytes) -> bytes:
        return self._gpg("--enarmor", given=packets).replace(b"PGP ARMORED FILE", b"PGP PUBLIC KEY BLOCK")

    def _name(self, kind: str) -> str:
        self.key(kind)
        return f"{kind.replace(' ', '-')}@example.org"

    def _fingerprint(self, name: str) -> str:
        listed = self._gpg("--with-colons", "--list-keys", name).decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def _public(self, *names: str) -> bytes:
        return self._gpg("--armor", "--export", *names)

    def _gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--quiet", "--homedir", str(self._home), "--pinentry-mode", "loopback"]
        command += ["--passphrase", "", "--trust-model", "always", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@contextmanager
def keyring() -> Iterator[Keyring]:
    """A keyring, gone afterwards with the agent that gpg starts for it."""
    # Not a folder of pytest's: an agent's socket cannot have a long path.
    home = Path(tempfile.mkdtemp(prefix="keyring-"))
    try:
        yield Keyring(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)
