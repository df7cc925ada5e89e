"""scikit-learn's callbacks on a search: a task for each trial, and its fits within."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from search import SklearnSearch
from trainer import Classifier

try:
    from sklearn.callback import ProgressBar, ScoringMonitor
except ImportError:
    pytest.skip("this scikit-learn has no sklearn.callback", allow_module_level=True)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


class Small(Classifier):
    epochs = 2
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs)])


class Record:
    """Notes every call, and asks to stop at the end of a trial."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.calls: list[tuple[str, str, int]] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append(("setup", context.task_name, context.task_id))
        self.root = context

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        self.calls.append(("end", context.task_name, context.task_id))
        return context.task_name == "trial" and context.task_id == self.stop


class Everywhere(Record):
    max_propagation_depth = None


def searched(estimator: Any, space: Any, **arguments: Any) -> SklearnSearch:
    fixed = {"method": "grid", "cv": 2, "seed": 0, "verbose": 0, "executor": "serial"}
    return SklearnSearch(estimator, space, **(fixed | arguments))


def paths(context: Any, *before: Any) -> set[tuple[Any, ...]]:
    """The tasks below a context, as paths of names and numbers."""
    here = (*before, f"{context.task_name} {context.task_id}")
    inner = [child for child in context if child.parent is context]
    return {here}.union(*(paths(child, *here) for child in inner))


def test_trials_and_the_refit_are_tasks_of_a_search() -> None:
    record = Record()
    search = searched(LogisticRegression(), {"C": [0.1, 1.0]}).set_callbacks(record).fit(X, Y)
    assert record.calls == [
        *(("setup", "fit", 0), ("begin", "fit", 0), ("begin", "search", 0)),
        *(("begin", "trial", 0), ("end", "trial", 0)),
        *(("begin", "trial", 1), ("end", "trial", 1)),
        ("end", "search", 0),
        *(("begin", "refit", 1), ("end", "refit", 1)),
        *(("end", "fit", 0), ("teardown", "fit", 0)),
    ]
    plain = searched(LogisticRegression(), {"C": [0.1, 1.0]}).fit(X, Y)
    assert search.best_score_ == plain.best_score_
    assert (search.best_estimator_.coef_ == plain.best_estimator_.coef_).all()


def test_epochs_are_tasks_in_the_fits_of_a_trial() -> None:
    record = Everywhere()
    pipeline = make_pipeline(StandardScaler(), Small())
    searched(pipeline, {"small__batch_size": [8, 20]}).set_callbacks(record).fit(X, Y)
    found = paths(record.root)
    fits = [("search 0", f"trial {t}", f"fit {f}") for t in range(2) for f in range(2)]
    fits.append(("fit 1",))  # the refit, whose task is now the Trainer's
    for fit in fits:
        assert {("fit 0", *fit, f"epoch {e}") for e in range(2)} < found
    assert record.calls.count(("end", "epoch", 1)) == 5
    assert record.calls.count(("setup", "fit", 0)) == 1
    # the rows of the first trials' dry run are nobody's task
    assert len([c for c in record.calls if c[0] == "begin" and c[1] == "epoch"]) == 10


def test_true_from_the_hook_of_a_trial_ends_the_search_after_it() -> None:
    record = Record(stop=1)
    search = searched(LogisticRegression(), {"C": [0.1, 1.0, 2.0, 3.0]}).set_callbacks(record)
    search.fit(X, Y)
    assert len(search.results_) == 2
    assert ("end", "refit", 1) in record.calls


def test_callbacks_reach_trials_in_worker_processes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = ScoringMonitor(scoring="accuracy")
    search = searched(
        Small().set_callbacks(monitor), {"batch_size": [8, 20]}, executor="processes", workers=1
    )
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    trials = [row["task_id_path"] for row in rows if row["task_id_path"][1] == 0]
    assert trials == [(0, 0, t, f, e) for t in range(2) for f in range(2) for e in range(2)]
    refit = [row for row in rows if row["task_id_path"][1] == 1]
    assert refit[-1]["accuracy"] == search.best_estimator_.score(X, Y)
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("SklearnSearch - trial #") == 2
    assert shown.count("SklearnSearch - fit | Small - fit #") == 4


def test_a_resumed_study_has_the_numbers_of_its_further_trials(tmp_path: Path) -> None:
    def of(record: Record) -> SklearnSearch:
        search = searched(LogisticRegression(), {"C": [0.1, 1.0, 2.0]}, directory=tmp_path)
        return search.set_callbacks(record)

    first, second = Record(stop=0), Record()
    of(first).fit(X, Y)
    assert len(of(second).fit(X, Y).results_) == 3
    trials = [number for what, name, number in second.calls if (what, name) == ("end", "trial")]
    assert trials == [1, 2]


def test_callbacks_are_torn_down_if_the_search_fails() -> None:
    class Broken(Record):
        def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
            if context.task_name == "trial":
                raise ZeroDivisionError("in the hook")
            return False

    record = Broken()
    with pytest.raises(ZeroDivisionError, match="in the hook"):
        searched(LogisticRegression(), {"C": [1.0]}).set_callbacks(record).fit(X, Y)
    assert record.calls[-1] == ("teardown", "fit", 0)


class _Locked(Record):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("estimator", "callback", "said"),
    [
        (Small().set_callbacks(Everywhere()), None, "belongs to the outermost estimator"),
        (
            make_pipeline(StandardScaler(), Small()).set_callbacks(Record()),
            None,
            "would see nothing; set them on the SklearnSearch, or on the Small in the pipeline",
        ),
        (Small(), _Locked(), "cannot be sent to the workers .*write executor='serial'"),
    ],
    ids=["propagated", "on the pipeline", "not picklable"],
)
def test_callbacks_that_would_not_work_are_refused(
    estimator: Any, callback: Any, said: str
) -> None:
    search = searched(estimator, {"x": [1]}, executor="processes")
    search.set_callbacks(*([] if callback is None else [callback]))
    with pytest.raises(TypeError, match=said):
        search.fit(X, Y)


def test_an_estimator_without_support_is_named_in_a_warning() -> None:
    record = Everywhere()
    with pytest.warns(UserWarning, match="SVC does not support scikit-learn's callbacks"):
        searched(SVC(), {"C": [1.0]}).set_callbacks(record).fit(X, Y)
    assert ("end", "trial", 0) in record.calls
