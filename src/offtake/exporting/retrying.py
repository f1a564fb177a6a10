"""Trying again after failures that pass, within a budget."""

import random
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from offtake.errors import DeliveryError
from offtake.exporting.leash import Leash, pause

Result = TypeVar("Result")

_LONGEST_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Patience:
    """How often one thing is tried, and how often a whole run tries again; seconds are waited in between.

    The first wait is `wait`, each further one twice as long, up to five minutes.
    """

    attempts: int
    wait: float
    retries: int = 50


@dataclass
class Budget:
    """What is left of a run's patience."""

    patience: Patience
    _failures: Counter[Hashable] = field(default_factory=Counter)
    _random: random.Random = field(default_factory=random.Random)

    def wait_after(self, what: Hashable, error: DeliveryError) -> float:
        """The seconds to wait until `what` is tried again; raises the error when it is not to be.

        The wait is between half and all of what is due, so that those who failed together do not come back together;
        a server that names a wait itself gets at least that. One that names more than five minutes ends the run: its
        worker has others to carry out, and the flow's next run comes back later.
        """
        self._failures[what] += 1
        failures = self._failures[what]
        spent = self._failures.total() > self.patience.retries
        asked = error.retry_after or 0.0
        if not error.transient or failures >= self.patience.attempts or spent or asked > _LONGEST_SECONDS:
            raise error
        due = min(_LONGEST_SECONDS, self.patience.wait * 2.0 ** (failures - 1))
        return asked + due * self._random.uniform(0.5, 1)


def persevere(act: Callable[[], Result], what: Hashable, budget: Budget, leash: Leash) -> Result:
    """What `act` gives, tried again after transient failures as far as the budget goes.

    Raises the last `DeliveryError`, one that is not transient at once, and `CancelledError` when asked to stop.
    """
    while True:
        try:
            return act()
        except DeliveryError as error:
            pause(budget.wait_after(what, error), leash)
