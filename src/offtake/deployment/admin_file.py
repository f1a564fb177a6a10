"""`admin.json` in the data directory: the credentials of the first client, which the first start of a server writes."""

import json
import os
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from offtake.settings import Settings

ADMIN_FILE: Final = "admin.json"


def admin_file(settings: Settings) -> Path:
    """The file, which may not exist."""
    return settings.data_dir / ADMIN_FILE


def write(settings: Settings, content: dict[str, Any]) -> None:
    """Replace the file at once; only this user can read it."""
    file = admin_file(settings)
    new = file.with_name(f".{uuid4()}")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as opened:
        opened.write(json.dumps(content, indent=2) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def follow_rotation(settings: Settings, client_id: str, secret: str) -> None:
    """Put a client's new secret into the file, if the file is of that client."""
    try:
        content = json.loads(admin_file(settings).read_bytes())
    except (OSError, ValueError):
        return
    if isinstance(content, dict) and content.get("client_id") == client_id:
        write(settings, content | {"client_secret": secret})
