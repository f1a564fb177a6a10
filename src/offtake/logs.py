"""Log lines: one format, and the id of the request that each line belongs to."""

import logging
from contextvars import ContextVar
from typing import Final

request_id: ContextVar[str] = ContextVar("request_id", default="-")
FORMAT: Final = "%(asctime)s %(levelname)s %(request_id)s %(name)s %(message)s"
_NOISY: Final = ("pyiceberg", "alembic", "httpx2", "httpcore2", "azure", "botocore")


def install(level: int = logging.INFO) -> None:
    """Write every line of this process to standard error, with the request's id or a hyphen."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(add_request_id)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def add_request_id(record: logging.LogRecord) -> bool:
    """A log filter that lets everything through, with the id added."""
    record.request_id = request_id.get()
    return True
