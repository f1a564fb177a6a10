"""What many tests compute alike and what takes long: it is computed once per process, with the same results."""

import functools
import itertools

from offtake.access import clients

_SECRETS = 16


def install() -> None:
    """Let clients have one of a few secrets, in turn, whose hashes (70 ms each) are known after the first time."""
    drawn = itertools.cycle([clients.new_secret() for _ in range(_SECRETS)])
    clients.new_secret = functools.partial(next, drawn)
    clients.hash_secret = functools.lru_cache(clients.hash_secret)
    clients._scrypt = functools.lru_cache(1024)(clients._scrypt)  # noqa: SLF001 - what is hashed stays as it is
