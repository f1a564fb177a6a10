"""The loop of workers and ingestors: claim something by lease, work on it, look for the next."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from offtake.errors import exhaustion
from offtake.logs import retried
from offtake.store.database import StoreBusyError, StoreFullError
from offtake.store.revisions import StoreVersionError
from offtake.store.wakeup import WakeUp

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 2.0
_UPGRADED_SECONDS: Final = 60.0
"""The pause of a process whose tables were migrated by a later version: it is to be stopped."""


def work_until_stopped(
    what: str,
    work_on_next: Callable[[threading.Event], bool],
    wakeup: WakeUp,
    stop: threading.Event,
    pause_seconds: float,
) -> None:
    """Call `work_on_next` until `stop` is set; it returns False when there was nothing to claim.

    Then the loop waits for a notification, `pause_seconds` at most: other processes cannot notify this one. No error
    ends the loop. `what` is named in the log, such as "run".
    """
    while not stop.is_set():
        seen = wakeup.generation
        try:
            worked = work_on_next(stop)
        except (StoreBusyError, StoreFullError) as error:
            _log.warning("no %s can be claimed or ended: %s Retrying.", what, error, extra=retried(what))
            worked = stop.wait(_RETRY_SECONDS)
        except StoreVersionError as error:
            _log.warning("no %s is claimed: %s", what, error)
            worked = stop.wait(_UPGRADED_SECONDS)
        except Exception as error:  # noqa: BLE001 - the loop survives every error
            cause = exhaustion(error)
            if cause is None:
                _log.exception("a %s could not be claimed or ended; retrying", what, extra=retried(what))
            else:
                _log.warning("no %s can be claimed or ended: %s. Retrying.", what, cause, extra=retried(what))
                stop.wait(_RETRY_SECONDS)
            worked = False
        if not worked:
            wakeup.wait(seen, pause_seconds)
