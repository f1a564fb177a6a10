"""Quotas of a sandbox: setting, listing and removing them."""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import ALL, MANAGE_SANDBOXES, VIEW_DESTINATIONS, Caller
from offtake.documents import Json
from offtake.store import quotas
from offtake.store.health import IN_QUEUE
from offtake.store.quotas import MEASURES, Level
from offtake.store.tables import Quota, Run
from offtake.store.usage import month_after

KIND: Final = "quotas"
MOST: Final = 10**18


class NewQuota(Body):
    """`PUT /quotas/{measure}`."""

    limit: Annotated[int, Field(ge=0, le=MOST)]


@dataclass(frozen=True)
class QuotaView:
    """A quota; `used`: in this month, None unless the caller may see all usage. `renews_ms`: when the month ends.

    While it is `reached`, the sandbox's new runs are held, and `message` says so.
    """

    measure: str
    limit: int
    used: int | None
    reached: bool
    renews_ms: int
    message: str | None

    def to_json(self) -> Json:
        """Render it for the API."""
        return {
            "measure": self.measure,
            "limit": self.limit,
            "used": self.used,
            "reached": self.reached,
            "renewsAtUTC": self.renews_ms,
            "message": self.message,
        }


def list_quotas(session: Session, caller: Caller, now_ms: int) -> list[QuotaView]:
    """The sandbox's quotas. Their usage is that of the whole sandbox, so it is hidden from callers without all labels.

    Callers who manage sandboxes see it nevertheless.
    """
    caller.require(VIEW_DESTINATIONS, MANAGE_SANDBOXES)
    return [_view(caller, level, now_ms) for level in quotas.levels(session, caller.sandbox_id, now_ms)]


def count_held(session: Session, caller: Caller) -> int:
    """The runs that are held for a quota and that the caller may see."""
    mine = (quotas.HELD, IN_QUEUE, Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller))
    return session.scalar(select(func.count()).select_from(Run).where(*mine)) or 0


def set_quota(session: Session, caller: Caller, measure: str, body: Sent, now_ms: int) -> QuotaView:
    """Set a quota, and hold or release the sandbox's new runs accordingly. One below the present usage is accepted."""
    caller.require(MANAGE_SANDBOXES)
    _check(measure)
    limit = bodies.parse_body(NewQuota, body).limit
    row = session.get(Quota, (caller.sandbox_id, measure), with_for_update=True)
    before = None if row is None else {"limit": row.most}
    if row is None:
        row = Quota(sandbox_id=caller.sandbox_id, measure=measure)
        session.add(row)
    row.most, row.noted_used = limit, None
    row.updated_at, row.updated_by = now_ms, caller.account_id
    _record(session, caller, now_ms, "create" if before is None else "update", measure, before, {"limit": limit})
    session.flush()
    quotas.settle(session, caller.sandbox_id, now_ms)
    level = next(one for one in quotas.levels(session, caller.sandbox_id, now_ms) if one.measure == measure)
    return _view(caller, level, now_ms)


def remove(session: Session, caller: Caller, measure: str, now_ms: int) -> None:
    """Remove a quota, and release the runs that it held. Raises 1439 when there is none."""
    caller.require(MANAGE_SANDBOXES)
    _check(measure)
    row = session.get(Quota, (caller.sandbox_id, measure), with_for_update=True)
    if row is None:
        raise problems.not_found(KIND, measure)
    _record(session, caller, now_ms, "delete", measure, {"limit": row.most}, None)
    quotas.remove(session, row, now_ms)


def _check(measure: str) -> None:
    if measure not in MEASURES:
        raise problems.of_field("/measure", f"{measure[:50]!r} is not one of {', '.join(MEASURES)}")


def _view(caller: Caller, level: Level, now_ms: int) -> QuotaView:
    sees_all = ALL in caller.grants.labels or caller.grants.allow(MANAGE_SANDBOXES)
    renews = month_after(now_ms)
    message = quotas.describe(level, renews) if level.reached else None
    return QuotaView(level.measure, level.most, level.used if sees_all else None, level.reached, renews, message)


def _record(
    session: Session,
    caller: Caller,
    now_ms: int,
    action: audit.Action,
    measure: str,
    before: Json | None,
    after: Json | None,
) -> None:
    audit.record(session, caller, now_ms, action, (KIND, caller.sandbox_id), name=measure, before=before, after=after)
