"""Paths of the pages that requests send, such as the page to go back to."""

from urllib.parse import urlsplit


def local_path(sent: str) -> str:
    """A path of the pages to go back to; empty for anything else, such as another site's address."""
    try:
        split = urlsplit(sent)
    except ValueError:
        return ""
    is_local = not split.scheme and not split.netloc and (split.path == "/ui" or split.path.startswith("/ui/"))
    return sent if is_local and sent.isprintable() and "\\" not in sent else ""
