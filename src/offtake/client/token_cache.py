"""Access tokens kept between commands, so that most commands need no token request."""

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from offtake.client.profiles import Profile, user_folder

_LEFT_SECONDS: Final = 60


@dataclass(frozen=True)
class Token:
    """An access token, and when it expires (epoch seconds)."""

    text: str
    expires: float

    @property
    def is_usable(self) -> bool:
        """Whether it is valid for another minute."""
        return self.expires - time.time() > _LEFT_SECONDS


def cached(profile: Profile) -> Token | None:
    """The profile's token, if one is kept that is valid for another minute."""
    try:
        found = json.loads(_file(profile).read_bytes())
        token = Token(str(found["token"]), float(found["expires"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return token if token.is_usable else None


def keep(profile: Profile, token: Token) -> None:
    """Keep the token in a file that only this user can read. Does nothing when it cannot be written."""
    file = _file(profile)
    new = file.with_name(f".{uuid4()}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as opened:
            json.dump({"token": token.text, "expires": token.expires}, opened)
        new.replace(file)


def forget(profile: Profile) -> None:
    """Delete the kept token, which the server refused."""
    _file(profile).unlink(missing_ok=True)


def _file(profile: Profile) -> Path:
    folder = user_folder("XDG_CACHE_HOME", ".cache") / "tokens"
    # With the secret, so that a rotated secret gets a token of its own.
    identity = "\n".join((profile.token_url, profile.client_id, profile.client_secret, profile.scope))
    return folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"
