"""What the schedules of flows may be."""

from typing import Annotated

from pydantic import Field

DefaultScheduleMonths = Annotated[
    int | None, Field(ge=1, description="Calendar months after which a flow without `endTime` ends; empty: never.")
]
HourIntervals = Annotated[frozenset[int], Field(description="Values of `interval` allowed with `timeUnit` hour.")]
AllowDailyFullExport = Annotated[bool, Field(description="Allow DAILY_FULL_EXPORT with a schedule of one day.")]
AllowRunForAnyFlow = Annotated[
    bool, Field(description="Let POST /runs start every enabled flow, not only one-time flows.")
]
