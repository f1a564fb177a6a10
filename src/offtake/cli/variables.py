"""Environment variables that look like settings but are none."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from offtake import failpoints
from offtake.client import profiles
from offtake.renamed_settings import PREFIX, RENAMED

_OF_KUBERNETES: Final = re.compile(
    r"OFFTAKE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
"""Variables that Kubernetes sets in every pod for a service whose name begins with offtake."""


def unknown(environment: Mapping[str, str], settings: Collection[str]) -> Iterator[str]:
    """A sentence for each variable that begins as a setting does and is not one, with the nearest name."""
    others = (failpoints.ENV, *profiles.VARIABLES)
    known = [*(f"{PREFIX}{name.upper()}" for name in (*settings, *RENAMED)), *others]
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known or _OF_KUBERNETES.fullmatch(name):
            continue
        if name.startswith(f"{PREFIX}TEST_") or name == "_OFFTAKE_COMPLETE":
            continue
        near = get_close_matches(name, known, 1)
        yield f"{name} is not a setting and is ignored" + (f"; did you mean {near[0]}?" if near else ".")
