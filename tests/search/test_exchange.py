"""Studies go to CSV files, and to Optuna and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_studies
import optuna
import pandas as pd
import pytest
from light_estimators import Bowl, Tiny
from light_searches import R, X, Y, sklearn_search, tuner_search

from search import FunctionSearch, import_optuna
from trainer import Bool, Choice, Float, Int

optuna.logging.set_verbosity(optuna.logging.WARNING)
F = X.astype("float32")


def unit(x: Any) -> Any:
    return x


SPACE = {
    "a": Float(0.0, 1.0),
    "b": Choice(None, unit, (1, 2), 0.5),
    "fail": Int(2, 9, step=3, when={"b": 0.5}),
}


class Free(Bowl):
    """Never fails."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        self.mean_ = 0.0
        return self


def test_a_study_becomes_a_csv_file(tmp_path: Path) -> None:
    search = sklearn_search(Free(), SPACE, n_iter=8).fit(X, R)
    table = pd.read_csv(search.export_csv(tmp_path / "trials.csv"))
    assert table.a.tolist() == search.results_.a.tolist()
    assert {"unit", "(1, 2)"} & set(table.b.dropna())
    with pytest.raises(TypeError, match=r"path=3: must be the name of a file"):
        search.export_csv(3)


def test_a_study_goes_to_optuna_and_back(tmp_path: Path) -> None:
    search = sklearn_search(Free(), SPACE, n_iter=8).fit(X, R)
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    study = search.export_optuna(storage, "ours")
    assert study.best_value == search.best_score_
    assert study.best_params["a"] == search.best_params_["a"]
    assert study.direction.name == "MAXIMIZE" and len(study.trials) == 8
    back = import_optuna(storage)
    assert back.best_score_ == search.best_score_ and back.objective == "score"
    assert back.results_.score.tolist() == search.results_.score.tolist()
    assert back.results_.fail.tolist() == search.results_.fail.tolist()
    assert back.results_.seconds.tolist() == pytest.approx(
        [t.ended - t.started for t in search._trials], abs=1e-5
    )
    back.plot_history()
    back.plot_parallel()
    assert "best score" in back.summary()
    with pytest.raises(ValueError, match="name='ours': the storage has a study of this name"):
        search.export_optuna(storage, "ours")


def test_learning_curves_are_intermediate_values() -> None:
    search = tuner_search(Tiny(), ["learning_rate"], max_trials=2).fit(F, Y, validation_data=(F, Y))
    study = search.export_optuna()
    curve = search.epochs_[search.epochs_.trial == 1].val_loss.tolist()
    assert list(study.trials[1].intermediate_values.values()) == pytest.approx(curve)
    back = import_optuna(study)
    assert back.epochs_.val_loss.tolist() == pytest.approx(search.epochs_.val_loss.tolist())
    back.plot_curves()


def test_a_study_of_optuna_with_conditions_is_opened() -> None:
    def objective(trial: Any) -> float:
        kind = trial.suggest_categorical("kind", ["linear", "deep"])
        rate = trial.suggest_float("rate", 1e-4, 1, log=True)
        if trial.number == 3:
            raise optuna.TrialPruned
        depth = trial.suggest_int("depth", 1, 9, step=2) if kind == "deep" else 0
        trial.suggest_categorical("norm", [True, False])
        return rate + depth

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, 16)
    back = import_optuna(study)
    assert back.best_score_ == study.best_value and not back.maximize
    assert back.space.domains["depth"] == Int(1, 9, step=2)
    assert back.space.domains["norm"] == Bool()
    assert back.space.domains["rate"] == Float(1e-4, 1, log=True)
    assert back.results_.depth.notna().sum() == sum("depth" in t.params for t in study.trials)
    assert back.results_.state[3] == "pruned"
    back.plot_parallel()
    assert len(back.plot_slice()) == 4
    assert back.importance().index[0] == "depth"


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: import_optuna(3), TypeError, "study=3: must be an optuna.Study"),
        (lambda: import_optuna("a.db"), ValueError, "study='a.db': .*study='sqlite:///a.db'"),
        (
            lambda: made_studies.study(2).export_optuna("x"),
            ValueError,
            "storage='x': must be the address of .*write storage='sqlite:///optuna.db'",
        ),
        (lambda: made_studies.study(2).export_optuna(3), TypeError, "storage=3: must be a storage"),
        (lambda: import_optuna(optuna.create_study()), ValueError, "has no trials"),
        (
            lambda: import_optuna(optuna.storages.InMemoryStorage(), "a"),
            ValueError,
            "name='a': the storage has the studies",
        ),
        (
            lambda: import_optuna(optuna.create_study(), objective=2),
            ValueError,
            "objective=2: the study has 1 objectives",
        ),
    ],
)
def test_what_cannot_be_imported_is_a_clear_error(
    make: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        make()


def test_a_study_goes_to_tensorboard_with_objects_as_texts(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata

    search = sklearn_search(Bowl(), SPACE, n_iter=8).fit(X, R)  # some of its trials fail
    folder = search.export_tensorboard(tmp_path / "logs")
    (file,) = folder.glob("events*")
    (event,) = (e for e in EventFileLoader(str(file)).Load() if e.summary.value)
    content = event.summary.value[0].metadata.plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    kinds = {info.name: info.type for info in experiment.hparam_infos}
    assert list(kinds) == ["a", "b", "fail"]
    assert (kinds["a"], kinds["b"]) == (3, 1)  # numbers; texts, where objects are among the values
    for trial in search._trials:
        (file,) = (folder / f"trial_{trial.id}").glob("events*")
        values = [v for e in EventFileLoader(str(file)).Load() for v in e.summary.value]
        found = {v.tag: v for v in values}
        start = metadata.parse_session_start_info_plugin_data(
            found[metadata.SESSION_START_INFO_TAG].metadata.plugin_data.content
        )
        assert set(start.hparams) == set(trial.params)
        assert start.hparams["a"].number_value == trial.params["a"]
        assert start.hparams["b"].string_value in ("None", "unit", "(1, 2)", "0.5")
        end = metadata.parse_session_end_info_plugin_data(
            found[metadata.SESSION_END_INFO_TAG].metadata.plugin_data.content
        )
        assert end.status == (1 if trial.state == "completed" else 2)
        assert ("score/score" in found) == (trial.state == "completed")
    with pytest.raises(ValueError, match="logs': is not empty"):
        search.export_tensorboard(folder)
    with pytest.raises(TypeError, match=r"path=3: must be the name of a folder"):
        search.export_tensorboard(3)


def test_tensorboard_is_told_which_way_each_objective_is_better(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata

    def both(x: float) -> dict[str, float]:
        return {"near": x, "right": -x, "other": 1.0}

    objective = ["near", ("right", "max")]
    options = {"tuner": "random", "executor": "serial", "seed": 0, "verbose": 0, "max_trials": 2}
    search = FunctionSearch(
        both, {"x": Float(0, 1)}, objective=objective, direction="min", **options
    )
    folder = search.fit().export_tensorboard(tmp_path / "logs")
    (file,) = folder.glob("events*")
    (event,) = (e for e in EventFileLoader(str(file)).Load() if e.summary.value)
    content = event.summary.value[0].metadata.plugin_data.content
    names = [m.display_name for m in metadata.parse_experiment_plugin_data(content).metric_infos]
    assert names[:2] == ["near (lower is better)", "right (higher is better)"]
