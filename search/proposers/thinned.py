"""A long study, of which a sampler sees only a part.

Responsible for which trials of an Optuna study its sampler sees. TPE takes time in proportion to
them: with 100,000, a second for each proposal. From MOST ended trials on it sees the best ones,
which is all that its model of good points is made of (Bergstra and others 2011, with Optuna's limit
of 25), and of the others, whose density it only estimates, one in 2, in 4, in 8 and so on.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Container, Sequence

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

MOST = 2_000  # ended trials, of which all are seen
BEST = 25  # the most trials that optuna.samplers.TPESampler takes as good ones


class ThinnedStorage(InMemoryStorage):
    """A storage of one study with one objective. What is seen follows from the trials alone.

    Args:
        maximize: whether a higher value is better.
    """

    def __init__(self, maximize: bool) -> None:
        super().__init__()
        self._maximize = maximize
        self._running: set[int] = set()
        self._best: list[tuple[float, int]] = []  # value to minimize, and ID
        self._seen: list[int] = []  # IDs of completed trials that are multiples of the step
        self._step = 1

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial, as Optuna's own storage does."""
        number = int(super().create_new_trial(study_id, template_trial))
        self._note(number)
        return number

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set how a trial ended, as Optuna's own storage does."""
        changed = super().set_trial_state_values(trial_id, state, values)
        self._note(trial_id)
        return bool(changed)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials that the sampler may see, in the order of their numbers."""
        if self._step == 1 or states == (TrialState.WAITING,):  # which it finds without looking
            every: list[FrozenTrial] = super().get_all_trials(study_id, deepcopy, states)
            return every
        numbers = sorted({*self._running, *self._seen, *(number for _, number in self._best)})
        found = [self.get_trial(number) for number in numbers]
        found = [trial for trial in found if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _note(self, number: int) -> None:
        trial = self.get_trial(number)
        if trial.state == TrialState.RUNNING:
            self._running.add(number)
            return
        self._running.discard(number)
        if trial.state != TrialState.COMPLETE:
            return
        value = trial.value or 0.0
        bisect.insort(self._best, (-value if self._maximize else value, number))
        del self._best[BEST:]
        if number % self._step == 0:
            bisect.insort(self._seen, number)
        while len(self._seen) > MOST:
            self._step *= 2
            self._seen = [number for number in self._seen if number % self._step == 0]
