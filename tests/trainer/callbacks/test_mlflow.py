"""The plugin that logs to MLflow; all but the first tests need MLflow, and skip without it."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Classifier, Trainer
from trainer.callbacks import MLflow

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed: pip install 'exact-trainer[mlflow]'",
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def small(**fields: Any) -> Classifier:
    defaults = {"model": "mlp", "epochs": 3, "batch_size": 8, "random_state": 1, "verbose": 0}
    return Classifier(**defaults | fields)


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store of MLflow with nothing in it: making one takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "fresh.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store of its own, in whose folder the test runs."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    (tmp_path / "mlflow.db").write_bytes(fresh_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def logged(store: str, experiment: str = "exact-trainer") -> list[Any]:
    """The MLflow runs of an experiment, the oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["attributes.start_time"])


def points(store: str, run: Any, name: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    history = MlflowClient(tracking_uri=store).get_metric_history(run.info.run_id, name)
    return [(metric.step, metric.value) for metric in history]


# ---- without MLflow --------------------------------------------------------------------------


def test_without_mlflow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    trainer = small(callbacks=["mlflow"])
    with pytest.raises(ImportError, match=r"pip install 'exact-trainer\[mlflow\]'"):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"experiment": ""}, "experiment='': must be text"),
        ({"experiment": None}, "experiment=None: must be text"),
        ({"tracking_uri": 5000}, "tracking_uri=5000: must be text, such as"),
        ({"run_name": Path("a")}, "run_name=.*must be text"),
    ],
)
def test_bad_fields_are_refused_before_training(fields: dict[str, Any], message: str) -> None:
    trainer = small(callbacks=[MLflow(**fields)])
    with pytest.raises(TypeError, match=message):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


def test_it_is_found_by_its_name() -> None:
    assert small(callbacks=["mlflow"]).get_params()["callbacks__mlflow__experiment"]


# ---- with MLflow -----------------------------------------------------------------------------


@needs_mlflow
def test_each_epoch_has_its_metrics_and_the_fields_are_parameters(store: str) -> None:
    plugin = {"name": "mlflow", "tracking_uri": store, "experiment": "digits", "run_name": "one"}
    trainer = small(callbacks=[plugin, "early_stopping"]).fit(X, Y, validation_data=(X, Y))
    (run,) = logged(store, "digits")
    assert run.info.status == "FINISHED" and run.info.run_name == "one"
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        expected = list(enumerate(trainer.history_[name], start=1))
        assert points(store, run, name) == expected
    params = run.data.params
    assert params["batch_size"] == "8" and params["optimizer"] == "adam" and params["seed"] == "1"
    assert params["class"] == "Classifier" and "callbacks__early_stopping__patience" in params


@needs_mlflow
def test_the_model_and_the_history_are_artefacts(store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    trainer = small(callbacks=[MLflow(tracking_uri=store)]).fit(X, Y)
    (run,) = logged(store)
    client = MlflowClient(tracking_uri=store)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"model.keras", "history.csv", "curves.png"}
    path = client.download_artifacts(run.info.run_id, "model.keras", str(tmp_path))
    np.testing.assert_array_equal(Classifier.load(path).predict(X), trainer.predict(X))


@needs_mlflow
def test_the_weights_that_other_callbacks_leave_are_those_of_the_artefact(
    store: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    class Zeros(keras.callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            self.model.set_weights([0 * w for w in self.model.get_weights()])

    small(callbacks=[MLflow(tracking_uri=store), Zeros()]).fit(X, Y)
    (run,) = logged(store)
    client = MlflowClient(tracking_uri=store)
    path = client.download_artifacts(run.info.run_id, "model.keras", str(tmp_path))
    assert not any(w.any() for w in Classifier.load(path).model_.get_weights())


@needs_mlflow
def test_the_active_run_of_mlflow_is_left_alone(store: str) -> None:
    import mlflow

    before = mlflow.active_run()
    small(callbacks=[MLflow(tracking_uri=store)]).fit(X, Y)
    assert before is None and mlflow.active_run() is None


@needs_mlflow
def test_a_second_fit_with_the_same_object_is_a_second_run(store: str) -> None:
    trainer = small(callbacks=[MLflow(tracking_uri=store)], epochs=2)
    trainer.fit(X, Y)
    trainer.fit(X, Y)
    runs = logged(store)
    assert len(runs) == 2
    assert [[step for step, _ in points(store, run, "loss")] for run in runs] == [[1, 2], [1, 2]]


@needs_mlflow
def test_training_is_the_same_to_the_bit_with_and_without(store: str) -> None:
    fits = [small(callbacks=c).fit(X, Y) for c in ((), (MLflow(tracking_uri=store),))]
    values = [[w.tobytes() for w in trainer.model_.get_weights()] for trainer in fits]
    assert values[0] == values[1]


@needs_mlflow
def test_a_resumed_training_goes_on_in_the_same_mlflow_run(
    store: str, interrupted_run: Callable[..., Any]
) -> None:
    def make(folder: str) -> Trainer:
        plugin = MLflow(tracking_uri=store, experiment=Path(folder).name)
        return small(callbacks=[plugin], run_dir=folder, epochs=4)

    # before the state of (2, 6) is saved the epochs 1 and 2 are logged, and not again after it
    _, resumed = interrupted_run(make, X, Y, at=[(0, 2), (1, 4), (2, 6), (3, 0)])
    (run,) = logged(store, "resumed")
    assert run.info.status == "FINISHED"
    assert points(store, run, "loss") == list(enumerate(resumed.history_["loss"], start=1))


@needs_mlflow
def test_an_interrupted_training_is_marked_as_killed(store: str) -> None:
    class CtrlC(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        small(callbacks=[MLflow(tracking_uri=store), CtrlC()]).fit(X, Y)
    (run,) = logged(store)
    assert run.info.status == "KILLED"
    assert [step for step, _ in points(store, run, "loss")] == [1]


@needs_mlflow
def test_an_epoch_that_is_trained_again_is_not_logged_again(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_dispatches: None
) -> None:
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise RuntimeError("after the epoch was logged, and before its state is saved")

    def make() -> Trainer:
        plugin = MLflow(tracking_uri=store)
        return small(callbacks=[plugin, Fails()], run_dir=tmp_path / "run", save_steps=2)

    with pytest.raises(RuntimeError, match="after the epoch was logged"):
        make().fit(X, Y)
    assert [run.info.status for run in logged(store)] == ["FAILED"]
    make().fit(X, Y)
    (run,) = logged(store)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in points(store, run, "loss")] == [1, 2, 3]


@needs_mlflow
def test_a_metric_whose_name_mlflow_refuses_is_logged_under_another(store: str) -> None:
    class Three(keras.metrics.Metric):
        def update_state(self, *args: Any, **kwargs: Any) -> None:
            pass

        def result(self) -> Any:
            return keras.ops.convert_to_tensor([1.0, float("nan")])

    small(callbacks=[MLflow(tracking_uri=store)], metrics=[Three(name="f1")], epochs=1).fit(X, Y)
    (run,) = logged(store)
    assert run.data.metrics["f1.0"] == 1.0 and np.isnan(run.data.metrics["f1.1"])


@needs_mlflow
def test_a_store_that_cannot_be_used_is_told_before_training(store: str) -> None:
    trainer = small(callbacks=[MLflow(tracking_uri="carrier-pigeon://coop")])
    with pytest.raises(ValueError, match="tracking_uri='carrier-pigeon://coop': MLflow cannot use"):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


@needs_mlflow
def test_a_deleted_experiment_is_told_before_training(store: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    client.delete_experiment(client.create_experiment("old"))
    with pytest.raises(ValueError, match="experiment='old': is deleted"):
        small(callbacks=[MLflow(tracking_uri=store, experiment="old")]).fit(X, Y)
