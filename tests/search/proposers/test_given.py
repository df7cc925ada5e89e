"""A proposer of the user's own: proposes, is told, survives a restart, and stays in the space."""

from __future__ import annotations

from typing import Any

import pytest
from light_searches import R, Told, X, tuner_search

from search.proposers import Finished, Outcome, PastTrial, Proposal, resume
from search.proposers.given import Given
from search.space import Space
from trainer import Float


class Steps:
    """Proposes a = 0.1, 0.2 and so on; notes what it is told."""

    slow, learns = False, True

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.asked = 0
        self.told: list[list[Any]] = []

    def ask(self) -> Any:
        if self.asked == len(self.values):
            raise Finished
        self.asked += 1
        value = self.values[self.asked - 1]
        return Proposal(str(self.asked), {"a": value}) if isinstance(value, float) else value

    def tell(self, key: str, outcome: Outcome) -> None:
        self.told.append([key, outcome.score])

    def learn(self, key: str, point: Any, outcome: Outcome) -> None:
        self.told.append([key, point, outcome.score])

    def snapshot(self) -> Any:
        return {"asked": self.asked, "told": self.told}

    def restore(self, snapshot: Any) -> None:
        self.asked, self.told = snapshot["asked"], snapshot["told"]


VALUES = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_its_trials_are_run_in_its_order_and_the_object_stays_as_it_was() -> None:
    mine = Steps(VALUES)
    found = tuner_search(tuner=mine, max_trials=None).fit(X, R).results_
    assert found["a"].tolist() == VALUES
    assert mine.asked == 0 and mine.told == []


def test_max_trials_limits_it() -> None:
    found = tuner_search(tuner=Steps(VALUES), max_trials=2).fit(X, R).results_
    assert found["a"].tolist() == VALUES[:2]


def test_a_study_that_was_stopped_continues_with_its_next_proposal(tmp_path: Any) -> None:
    first = tuner_search(
        tuner=Steps(VALUES), max_trials=None, directory=tmp_path / "s", callbacks=[Told(stop=2)]
    ).fit(X, R)
    assert first.results_["a"].tolist() == VALUES[:2]
    second = tuner_search(tuner=Steps(VALUES), max_trials=None, directory=tmp_path / "s").fit(X, R)
    assert second.results_["a"].tolist() == VALUES


def test_it_learns_from_points_that_were_enqueued() -> None:
    search = tuner_search(tuner=Steps(VALUES), max_trials=3, enqueue=[{"a": 0.9}]).fit(X, R)
    assert search.results_["a"].tolist() == [0.9, 0.1, 0.2]


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ([2.0], ValueError, r"Steps.ask proposed a point outside the space: a=2.0"),
        ([{"a": 0.5}], TypeError, r"Steps.ask returned \{'a': 0.5\}: it must return a search"),
    ],
)
def test_what_cannot_be_run_is_refused(values: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        tuner_search(tuner=Steps(values), max_trials=None).fit(X, R)


def test_an_object_without_the_methods_is_refused() -> None:
    with pytest.raises(TypeError, match=r"tuner=.*an object with the methods of search.proposers"):
        tuner_search(tuner=Float(0.0, 1.0)).fit(X, R)


def test_past_trials_are_passed_on_to_a_proposer_that_replays_them() -> None:
    class Replaying(Steps):
        def replay(self, trials: Any) -> None:
            self.replayed = trials

    past = [PastTrial("1", {"a": 0.1}, Outcome(1.0), 0, 1)]
    for cls in (Steps, Replaying):
        inner = cls([0.1])
        proposer = Given(inner, Space({"a": Float(0, 1)}), None)
        resume(proposer, {"asked": 1, "inner": {"asked": 1, "told": []}}, past)
        found = getattr(inner, "replayed", None)
        assert found == (past if cls is Replaying else None)
