"""A search over the arguments of a function: what it is called with, and what it may return."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import FunctionSearch, TunerSearch, compare, load_study
from search.study.function import name_of
from trainer import Choice, Float, Int

SPACE = {"x": Float(-2, 2), "y": Int(0, 3)}


def bowl(x: float, y: int) -> float:
    return (x - 1) ** 2 + y


def _search(function: Any = bowl, space: Any = None, **options: Any) -> FunctionSearch:
    given = {"tuner": "random", "max_trials": 30, "executor": "serial", "seed": 0, "verbose": 0}
    return FunctionSearch(function, space or SPACE, **given | {"direction": "min"} | options)


@pytest.fixture
def by_value() -> Iterator[None]:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_the_best_arguments_are_found_in_either_direction() -> None:
    lowest = _search().fit()
    assert lowest.best_score_ == lowest.results_.score.min() == bowl(**lowest.best_params_)
    highest = _search(direction="max").fit()
    assert highest.best_score_ == highest.results_.score.max() == bowl(**highest.best_params_)
    assert lowest.results_.score.tolist() == highest.results_.score.tolist()
    assert list(lowest.top(3).score) == sorted(lowest.results_.score)[:3]


def test_each_trial_calls_the_function_once() -> None:
    calls: list[Any] = []

    def counted(x: float, y: int = 0) -> float:
        calls.append((x, y))
        return x

    found = _search(counted, max_trials=7).fit()
    assert calls == list(zip(found.results_.x, found.results_.y, strict=True))
    assert not hasattr(found, "best_estimator_")


def test_a_dict_holds_the_score_and_metrics() -> None:
    found = _search(lambda x: {"loss": x * x, "sign": np.sign(x)}, {"x": Float(-1, 1)},
                    objective="loss", max_trials=5).fit()  # fmt: skip
    assert list(found.results_["sign"]) == list(np.sign(found.results_.x))
    assert found.best_score_ == found.results_.score.min()


def test_a_function_that_takes_a_seed_gets_that_of_its_trial() -> None:
    def drawn(x: float, seed: int) -> float:
        return float(np.random.default_rng(seed).normal()) + 0 * x

    first, again = (_search(drawn, {"x": [1.0, 2.0, 3.0]}, seed=3).fit() for _ in range(2))
    other = _search(drawn, {"x": [1.0, 2.0, 3.0]}, seed=4).fit()
    assert len(set(first.results_.score)) == 3
    assert first.results_.score.tolist() == again.results_.score.tolist()
    assert first.results_.score.tolist() != other.results_.score.tolist()
    searched = _search(lambda seed: seed, {"seed": [5, 6]}).fit()
    assert sorted(searched.results_.score) == [5, 6], "if it is in the space it is a parameter"


def test_what_is_no_number_fails_its_trial_only() -> None:
    def sometimes(x: Any) -> Any:
        return {0: 1.5, 1: math.nan, 2: None, 3: "no", 4: np.float32(0.5)}[x]

    found = _search(sometimes, {"x": [0, 1, 2, 3, 4]}, tuner="grid", max_trials=None).fit()
    by_x = found.results_.set_index("x")
    assert list(by_x.state[[0, 4]]) == ["completed"] * 2 and found.best_score_ == 0.5
    assert list(by_x.state[[1, 2, 3]]) == ["failed"] * 3
    assert "returned None, which is no score; is a 'return' missing?" in by_x.error[2]
    assert "function=test_what" in by_x.error[3] and "returned 'no'" in by_x.error[3]


def test_conditions_and_lists_of_spaces_reach_the_function() -> None:
    def f(kind: str = "none", depth: int = -1) -> float:
        return depth

    space = {"kind": Choice("a", "b"), "depth": Int(1, 4, when={"kind": "a"})}
    found = _search(f, space).fit()
    assert set(found.results_.score[found.results_.kind == "b"]) == {-1}
    several = _search(f, [{"kind": ["x"]}, {"depth": Int(5, 9)}], max_trials=6).fit()
    assert (
        set(several.results_.score) <= {-1, 5, 6, 7, 8, 9} and len(set(several.results_.score)) > 1
    )


def test_processes_and_a_resumed_study_give_what_this_process_gives(
    tmp_path: Path, by_value: None
) -> None:
    serial = _search(max_trials=60).fit()
    options: dict[str, Any] = {"executor": "processes", "workers": 2, "directory": tmp_path}
    _search(max_trials=25, **options).fit()
    found = _search(max_trials=60, **options).fit()
    columns = ["x", "y", "score", "state"]
    assert found.results_[columns].to_dict() == serial.results_[columns].to_dict()


def test_a_function_that_has_changed_is_another_study(tmp_path: Path) -> None:
    def made(power: int) -> Callable[..., float]:
        namespace: dict[str, Any] = {}
        exec(f"def f(x):\n    return x ** {power}", namespace)
        return namespace["f"]

    _search(made(2), {"x": Float(0, 1)}, directory=tmp_path, max_trials=2).fit()
    _search(made(2), {"x": Float(0, 1)}, directory=tmp_path, max_trials=3).fit()

    def g(x: float) -> float:
        return x

    with pytest.raises(ValueError, match="directory="):
        _search(g, {"x": Float(0, 1)}, directory=tmp_path, max_trials=3).fit()


def test_a_large_object_behind_the_function_is_not_copied_for_each_trial() -> None:
    class Large:
        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("copied")

        def value(self, x: float) -> float:
            return x

    assert len(_search(Large().value, {"x": Float(0, 1)}, max_trials=3).fit().results_) == 3


def two(a: int, b: int) -> int:
    return a + b


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a number for a function": (lambda: _search(3), TypeError, "function=3: must be a function"),
    "an estimator": (
        lambda: _search(TunerSearch(None)),
        TypeError,
        "must be a function; an estimator goes into TunerSearch",
    ),
    "the class of an estimator": (
        lambda: _search(TunerSearch),
        TypeError,
        "is an estimator or its class; write TunerSearch",
    ),
    "a direction": (
        lambda: _search(direction="up"),
        ValueError,
        "direction='up': .*'max'",
    ),
    "an objective with a direction": (
        lambda: _search(objective=("loss", "min")),
        TypeError,
        "objective=.*direction='min'",
    ),
    "a space of names": (lambda: _search(bowl, ["x"]), TypeError, r"space=\['x'\]: must be a dict"),
    "an empty space": (lambda: FunctionSearch(bowl, {}), TypeError, "space={}: must be a dict"),
    "an argument that it does not have": (
        lambda: _search(bowl, {"x": [1], "y": [1], "yy": [2]}),
        ValueError,
        "space={'yy'.*bowl has no argument of this name; did you mean 'y'",
    ),
    "an argument of a function that has none": (
        lambda: _search(lambda: 1, {"a": [1]}),
        ValueError,
        "space={'a': ...}: .*<lambda> has no argument of this name",
    ),
    "a number for a name": (
        lambda: _search(lambda **all: 1, {5: [1]}),
        TypeError,
        "space={5: ...}: must be the name of an argument",
    ),
    "an argument that it needs": (
        lambda: _search(two, {"a": [1]}),
        ValueError,
        "function=two: needs 'b'.*functools.partial",
    ),
    "a name that the search uses": (
        lambda: _search(lambda names: 0, {"names": [1]}),
        ValueError,
        "space={'names'.*another name",
    ),
    "positional only": (
        lambda: _search(lambda a, /: 0, {"a": [1]}),
        ValueError,
        "'a' is positional only",
    ),
    "a value that is not a domain": (
        lambda: _search(bowl, {"x": 3, "y": [1]}),
        TypeError,
        "x",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_one_error_before_the_first_call(name: str) -> None:
    make, kind, says = BAD[name]
    with pytest.raises(kind, match=says) as raised:
        make().fit()
    assert type(raised.value) is kind


def test_arguments_may_be_bound_before_the_search() -> None:
    assert _search(functools.partial(two, b=3), {"a": [1, 2]}).fit().best_score_ == 4


class Bowl:
    """Called as a function is."""

    def __call__(self, x: float, y: int) -> float:
        return bowl(x, y)


@pytest.mark.parametrize("make", [lambda: functools.partial(bowl, y=1), Bowl])
def test_a_study_of_a_partial_or_a_callable_object_is_resumed(make: Any, tmp_path: Path) -> None:
    space = SPACE if make is Bowl else {"x": SPACE["x"]}
    first = _search(make(), space, max_trials=2, directory=tmp_path).fit()
    again = _search(make(), space, max_trials=3, directory=tmp_path).fit()
    assert again.results_.score.tolist()[:2] == first.results_.score.tolist()
    assert len(again.results_) == 3


def test_the_name_of_a_function_has_no_address() -> None:
    assert name_of(bowl) == "bowl" and name_of(functools.partial(bowl, y=1)) == "partial(bowl)"
    assert name_of(Bowl()).endswith(".Bowl object>")


OWN_NAMES = ("trial", "state", "score", "seconds", "rung", "parent", "feasible", "error", "reason")


def named_alike(**values: float) -> float:
    if values["state"] > 1.9:
        raise ValueError("too far")
    return sum(values.values())


@pytest.mark.filterwarnings("ignore:.*trials failed")
def test_a_parameter_named_like_a_column_of_the_results_replaces_no_column(tmp_path: Path) -> None:
    names = (*OWN_NAMES, "best")
    space = dict.fromkeys(names, Float(1, 2))
    search = _search(named_alike, space, directory=str(tmp_path / "study")).fit()
    for study in (search, load_study(tmp_path / "study")):
        table = study.results_
        assert table["trial"].tolist() == list(range(30))
        assert set(table["state"]) == {"completed", "failed"}
        done = table[table["state"] == "completed"]
        assert study.best_score_ == done["score"].min()
        columns = {n: n if n in ("reason", "best") else f"parameter {n}" for n in names}
        for name, column in columns.items():
            assert table[column].between(1, 2).all(), name
        assert study.best_params_ == {n: study.top(1)[c].iloc[0] for n, c in columns.items()}
        assert "parameter score" in study.summary()
        assert set(study.failures["reason"]) == {"ValueError: too far"}
        assert study.failures["parameter reason"].between(1, 2).all()
        assert set(study.importance().index) == set(names)
        study.plot_history(), study.plot_parallel(), study.plot_slice(), study.plot_timeline()
        study.plot_contour("score", "state")
        page = study.report(tmp_path / "page.html").read_text()
        assert "parameter score" in page
        row = compare([study]).iloc[0]
        assert row["best"] == study.best_score_
        assert row["parameter best"] == study.best_params_["best"]
        assert row["score"] == study.best_params_["score"]
