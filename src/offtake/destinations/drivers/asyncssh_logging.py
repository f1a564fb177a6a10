"""The SSH library, imported once with its noise turned down. Import this module only where SFTP is used."""

import logging
import warnings

with warnings.catch_warnings():
    # It imports key exchanges that its own library for cryptography means to drop.
    warnings.simplefilter("ignore")
    import asyncssh
    import asyncssh.encryption

__all__ = ["asyncssh"]


def _is_news(record: logging.LogRecord) -> bool:
    """False for the line that asyncio writes at every write to a connection that is known to be lost."""
    return record.msg != "socket.send() raised exception."


asyncssh.set_log_level(logging.ERROR)
logging.getLogger("asyncio").addFilter(_is_news)
