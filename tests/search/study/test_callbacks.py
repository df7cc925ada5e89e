"""Callbacks of a search: which methods there are, and what they see of the study."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from light_searches import R, X, sklearn_search, tuner_search

from search.study.callbacks import SearchCallback, Study
from search.study.storage import Trial

METHODS = [name for name in vars(SearchCallback) if name.startswith("on_")]


class Looks(SearchCallback):
    """Reads everything that a study promises, whenever it is called."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def _look(self, when: str, study: Study) -> None:
        promised = [*inspect.get_annotations(Study), *_properties()]
        self.seen.append((when, {name: getattr(study, name) for name in promised}))

    def on_search_begin(self, study: Study) -> None:
        self._look("begin", study)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        self._look("trial", study)

    def on_search_end(self, study: Study) -> None:
        self._look("end", study)


def _properties() -> list[str]:
    return [name for name, value in vars(Study).items() if isinstance(value, property)]


def test_a_callback_without_methods_of_its_own_does_nothing() -> None:
    empty = SearchCallback()
    for name in METHODS:
        method = getattr(empty, name)
        assert method(*[None] * len(inspect.signature(method).parameters)) is None
    search = sklearn_search(callbacks=[empty]).fit(X, R)
    wanted = sklearn_search().fit(X, R)
    assert search.best_params_ == wanted.best_params_


def test_what_the_docstring_of_a_study_names_is_what_it_has() -> None:
    listed = inspect.cleandoc(str(Study.__doc__)).partition("Attributes:\n")[2]
    named = {line.split(":")[0].strip() for line in listed.splitlines() if line[4:5] != " "}
    assert named <= {*inspect.get_annotations(Study), *_properties()}
    assert {*inspect.get_annotations(Study), *_properties()} - named <= {"workers"}


@pytest.mark.parametrize("make", [sklearn_search, tuner_search])
def test_a_callback_sees_all_of_a_study_at_every_call(make: Any) -> None:
    looks = Looks()
    search = make(callbacks=[looks], max_seconds=1000.0).fit(X, R)
    assert [when for when, _ in looks.seen] == ["begin", *["trial"] * 4, "end"]
    first, last = looks.seen[0][1], looks.seen[-1][1]
    assert first["best"] is None and not first["finished"] and last["finished"]
    assert last["best"].params == search.best_params_
    assert (last["directory"], last["objective"], last["maximize"]) == (None, "score", True)
    assert (last["max_trials"], last["max_seconds"], last["workers"]) == (4, 1000.0, 1)
    assert 0 <= first["seconds"] <= last["seconds"]
    assert [trial.id for trial in last["trials"]] == [0, 1, 2, 3]


def test_a_study_that_a_callback_stops_is_not_finished() -> None:
    class Stops(Looks):
        def on_trial_end(self, study: Study, trial: Trial) -> None:
            study.stop()

    stops = Stops()
    search = sklearn_search(callbacks=[stops]).fit(X, R)
    assert len(search.results_) == 1 and not stops.seen[-1][1]["finished"]
