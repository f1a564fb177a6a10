"""Imports the SSH library without its warnings and noisy log lines. Import this module only where SFTP is used."""

import logging
import warnings

with warnings.catch_warnings():
    # It imports key exchanges that the `cryptography` package has deprecated.
    warnings.simplefilter("ignore")
    import asyncssh
    import asyncssh.encryption

__all__ = ["asyncssh"]


def _is_news(record: logging.LogRecord) -> bool:
    """False for the line that asyncio logs for each write to a lost connection."""
    return record.msg != "socket.send() raised exception."


asyncssh.set_log_level(logging.ERROR)
logging.getLogger("asyncio").addFilter(_is_news)
