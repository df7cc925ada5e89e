"""scikit-learn's callbacks on a Trainer: its tasks, what callbacks get, and what they may do."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer import Classifier, sklearn_callbacks
from trainer.finders.short_fits import short_fit

try:
    from sklearn.callback import FitCallback, ProgressBar, ScoringMonitor
except ImportError:
    pytest.skip("this scikit-learn has no sklearn.callback", allow_module_level=True)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 3)).astype("float32")
Y = np.where(X[:, 0] > 0, "yes", "no")


class Dropped(Classifier):
    epochs = 3
    batch_size = 16
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        layers = [keras.Input(spec.input_shape), keras.layers.Dense(4, "relu")]
        layers += [keras.layers.Dropout(0.5), keras.layers.Dense(spec.n_outputs)]
        return keras.Sequential(layers)


class Record:
    """Notes every call, and asks to stop at the end of an epoch."""

    def __init__(self, stop: int | None = None, fitted: bool = True) -> None:
        self.stop = stop
        self.calls: list[tuple[str, str, int]] = []
        self.given: list[dict[str, Any]] = []
        self.contexts: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append(("setup", context.task_name, context.task_id))
        self.root = context

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X=None, y=None, metadata=None, fitted_estimator=None
    ) -> bool:
        self.calls.append(("end", context.task_name, context.task_id))
        self.given.append({"X": X, "y": y, "metadata": metadata, "fitted": fitted_estimator})
        self.contexts.append(context)
        return context.task_name == "epoch" and context.task_id == self.stop

    @property
    def epochs(self) -> list[tuple[str, int]]:
        return [(what, number) for what, name, number in self.calls if name == "epoch"]


def weights(trainer: Any) -> bytes:
    return b"".join(w.tobytes() for w in trainer.model_.get_weights())


@pytest.fixture(scope="module")
def plain() -> Dropped:
    return Dropped().fit(X, Y)


def test_a_fit_is_a_task_and_each_epoch_one_in_it() -> None:
    record = Record()
    assert isinstance(record, FitCallback)
    Dropped(epochs=2).set_callbacks(record).fit(X, Y)
    assert record.calls == [
        ("setup", "fit", 0),
        ("begin", "fit", 0),
        *(("begin", "epoch", 0), ("end", "epoch", 0)),
        *(("begin", "epoch", 1), ("end", "epoch", 1)),
        ("end", "fit", 0),
        ("teardown", "fit", 0),
    ]
    assert record.root.max_subtasks == 2 and record.root.sequential_subtasks
    assert record.root.estimator_name == "Dropped"


def test_callbacks_change_no_number_and_get_an_estimator_of_each_epoch(plain: Dropped) -> None:
    record = Record()
    fitted = Dropped().set_callbacks(record).fit(X, Y)
    assert weights(fitted) == weights(plain)
    assert fitted.history_["loss"] == plain.history_["loss"]
    for number, given in enumerate(record.given[:3], 1):
        stopped = Dropped(epochs=number).fit(X, Y) if number < 3 else plain
        assert weights(given["fitted"]) == weights(stopped)
        assert given["fitted"].history_["loss"] == stopped.history_["loss"]
        assert given["X"] is not None and list(given["y"]) == list(Y)
        assert given["fitted"] is not fitted
    np.testing.assert_array_equal(given["fitted"].predict(X), plain.predict(X))


def test_true_from_the_hook_ends_the_training_as_early_stopping_does(tmp_path: Path) -> None:
    record = Record(stop=1)
    fitted = Dropped(run_dir=tmp_path / "run").set_callbacks(record).fit(X, Y)
    assert record.epochs == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]
    assert len(fitted.history_["loss"]) == 2
    assert weights(fitted) == weights(Dropped(epochs=2).fit(X, Y))
    # the run is finished: the same call trains nothing, and is a task without epochs
    again = Record(stop=1)
    returned = Dropped(run_dir=tmp_path / "run").set_callbacks(again).fit(X, Y)
    assert weights(returned) == weights(fitted)
    assert [name for _, name, _ in again.calls] == ["fit"] * 4
    assert weights(again.given[0]["fitted"]) == weights(fitted)


@pytest.mark.parametrize("place", [(1, 0), (1, 2)], ids=["between epochs", "within an epoch"])
def test_the_tasks_of_a_resumed_fit_start_at_its_epoch(
    place: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Dropped
) -> None:
    from trainer.runs import checkpointing
    from trainer.runs.checkpointing import Checkpointer

    class Killed(Exception):
        pass

    monkeypatch.setattr(checkpointing, "SECONDS_PER_SAVING_SECOND", -1)
    passed = Checkpointer.passed

    def then_killed(keeper: Any, position: Any) -> None:
        passed(keeper, position)
        if (position.epoch, position.step) == place:
            raise Killed

    def made(record: Record) -> Dropped:
        return Dropped(run_dir=tmp_path / "run", save_steps=1).set_callbacks(record)

    first, second = Record(), Record()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "passed", then_killed)
        with pytest.raises(Killed):
            made(first).fit(X, Y)
    assert first.calls[-1] == ("teardown", "fit", 0)
    fitted = made(second).fit(X, Y)
    assert second.epochs == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]
    assert [context.task_id for context in second.root][1:] == [1, 2]
    assert second.root.max_subtasks == 3 and not second.root.sequential_subtasks
    assert weights(fitted) == weights(plain)
    assert weights(second.given[-1]["fitted"]) == weights(plain)


def test_callbacks_are_torn_down_if_the_fit_fails() -> None:
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise OSError("the disk is full")

    record = Record()
    with pytest.raises(OSError, match="the disk is full"):
        Dropped(callbacks=[Fails()]).set_callbacks(record).fit(X, Y)
    assert [what for what, _, _ in record.calls] == ["setup", "begin", "begin", "teardown"]


def test_an_error_of_a_callback_ends_the_fit() -> None:
    class Broken(Record):
        def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
            raise ZeroDivisionError("in the hook")

    with pytest.raises(ZeroDivisionError, match="in the hook"):
        Dropped().set_callbacks(Broken()).fit(X, Y)


def test_callbacks_get_the_rows_that_are_trained_on_and_their_weights() -> None:
    record = Record()
    y = np.where(np.arange(48) < 2, None, Y)
    weight = np.linspace(1, 2, 48)
    table = pd.DataFrame(X, columns=list("abc"))
    with pytest.warns(UserWarning, match="2 of 48 rows have no target"):
        Dropped(epochs=1, validation_split=0.25).set_callbacks(record).fit(
            table, y, sample_weight=weight
        )
    given = record.given[0]
    assert isinstance(given["X"], pd.DataFrame) and len(given["X"]) == len(given["y"]) == 34
    assert not pd.isna(given["y"]).any()
    assert len(given["metadata"]["sample_weight"]) == 34
    assert given["fitted"].score(given["X"], given["y"]) >= 0


def test_a_sparse_matrix_is_given_as_one() -> None:
    record = Record()
    fitted = Classifier(model="mlp", epochs=1, verbose=0).set_callbacks(record)
    fitted.fit(csr_matrix(X), Y)
    assert isinstance(record.given[0]["X"], csr_matrix)
    assert len(record.given[0]["fitted"].predict(record.given[0]["X"])) == 48


def test_scikit_learns_callbacks_work_nested_in_a_pipeline_and_a_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), Dropped(epochs=2).set_callbacks(monitor))
    search = GridSearchCV(pipeline, {"dropped__batch_size": [16, 48]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 2 * (2 * 2 + 1)  # epochs, of 4 fits and the refit
    assert all(row["estimator_name"] == "Dropped" and 0 <= row["accuracy"] <= 1 for row in rows)
    refitted = [row for row in rows if row["task_id_path"][:2] == (0, 1)]
    best = search.best_estimator_
    assert refitted[-1]["accuracy"] == best.score(X, Y)
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("Pipeline - fit-final-estimator | Dropped - fit #1") == 5


def test_clones_share_the_callbacks_and_files_do_not_hold_them(tmp_path: Path) -> None:
    record = Record()
    trainer = Dropped(epochs=1).set_callbacks(record)
    clone(trainer).fit(X, Y)
    assert record.epochs == [("begin", 0), ("end", 0)]
    trainer.fit(X, Y)
    loaded = Dropped.load(trainer.save(tmp_path / "model.keras"))
    pickled = pickle.loads(pickle.dumps(copy.copy(record.given[0]["fitted"]).set_callbacks()))
    for other in (loaded, pickled):
        other.fit(X, Y)
    assert len(record.epochs) == 4
    trainer.set_callbacks().fit(X, Y)
    assert len(record.epochs) == 4


def test_a_run_is_resumed_with_other_callbacks(tmp_path: Path) -> None:
    first = Dropped(run_dir=tmp_path / "run").set_callbacks(Record()).fit(X, Y)
    second = Dropped(run_dir=tmp_path / "run").fit(X, Y)
    assert weights(first) == weights(second)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (keras.callbacks.Callback(), r"Dropped\(callbacks=\[\.\.\.\]\)"),
        ("early_stopping", r"'early_stopping'\): must be a callback of scikit-learn"),
        (Record, r"write Record\(\)"),
    ],
    ids=["of Keras", "a plugin", "a class"],
)
def test_other_callbacks_are_refused_with_the_place_where_they_go(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Dropped().set_callbacks(given)


def test_without_the_api_there_is_no_method_and_the_error_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("without_api", sklearn_callbacks.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    estimator = module.SupportsCallbacks()
    assert not hasattr(estimator, "set_callbacks")
    with pytest.raises(AttributeError) as raised:
        estimator.set_callbacks(Record())
    assert "scikit-learn 1.9" in str(raised.value) + str(raised.value.__cause__)
    assert module.root(estimator, 3) is None and not module.has_callbacks(estimator)
    with module.managed(estimator):
        pass


def test_a_warning_of_a_fit_names_the_line_that_calls_it() -> None:
    with pytest.warns(UserWarning, match="without validation data") as caught:
        Dropped(epochs=1, callbacks=["early_stopping"]).set_callbacks(Record()).fit(X, Y)
    assert all("sklearn" not in warning.filename for warning in caught)


def test_a_finder_does_not_call_them() -> None:
    record = Record()
    trainer = Dropped(epochs=1).set_callbacks(record)
    short_fit(trainer, keras.callbacks.Callback(), X, Y, None)
    assert record.calls == []
