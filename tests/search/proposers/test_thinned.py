"""Which trials of a long study a sampler sees."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution

from search.proposers import Outcome, PastTrial, thinned
from search.proposers.optuna import OptunaSampler
from search.space import Space
from trainer import Float

POINTS = np.random.default_rng(0).random((130, 2))
SCORES = (POINTS[:, 0] - 0.3) ** 2 + POINTS[:, 1]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinned, "MOST", 50)


def study(count: int, maximize: bool = False) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = optuna.create_study(
        storage=thinned.ThinnedStorage(maximize),
        direction="maximize" if maximize else "minimize",
    )
    for point, score in zip(POINTS[:count].tolist(), SCORES[:count].tolist(), strict=True):
        names = ("a", "b")
        made.add_trial(
            optuna.trial.create_trial(
                value=score,
                params=dict(zip(names, point, strict=True)),
                distributions={name: FloatDistribution(0, 1) for name in names},
            )
        )
    return made


def seen(of: optuna.Study) -> list[int]:
    return [trial.number for trial in of.get_trials(deepcopy=False)]


@pytest.mark.parametrize("maximize", [False, True])
def test_of_a_long_study_the_best_trials_are_seen_and_a_share_of_the_others(maximize: bool) -> None:
    best = np.argsort(-SCORES if maximize else SCORES)[: thinned.BEST]
    assert seen(study(130, maximize)) == sorted({*range(0, 130, 4), *best.tolist()})
    assert seen(study(50, maximize)) == list(range(50))


def test_running_trials_are_seen_and_failed_ones_are_not() -> None:
    long = study(61)
    asked = [long.ask() for _ in range(3)]
    assert {61, 62, 63} <= set(seen(long))
    long.tell(asked[0], state=optuna.trial.TrialState.FAIL)
    assert set(seen(long)) & {61, 62, 63} == {62, 63}


def test_a_resumed_study_proposes_the_same() -> None:
    def sampler() -> OptunaSampler:
        space = Space({"a": Float(0, 1), "b": Float(0, 1)})
        return OptunaSampler(space, "tpe", max_trials=None, maximize=[False], seed=0)

    whole, resumed = sampler(), sampler()
    past = []
    for number in range(120):
        asked = whole.ask()
        outcome = Outcome((asked.point["a"] - 0.3) ** 2 + asked.point["b"])
        whole.tell(asked.key, outcome)
        past.append(PastTrial(asked.key, asked.point, outcome, 2 * number, 2 * number + 1))
    resumed.restore(whole.snapshot())
    resumed.replay(past)
    assert [resumed.ask().point for _ in range(5)] == [whole.ask().point for _ in range(5)]
