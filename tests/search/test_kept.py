"""The models of the best trials: kept, loaded, and combined."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import made_studies
import numpy as np
import pytest
from light_estimators import Bowl, Nearest, Tiny
from light_searches import R, Told, X, Y, sklearn_search, tuner_search
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search import load_study
from trainer import Classifier

F = X.astype("float32")
VALID = (F[:30], Y[:30])


def folders(path: Path) -> list[int]:
    return sorted(int(p.name) for p in (path / "models").iterdir())


def test_the_best_models_are_kept_and_no_more(tmp_path: Path) -> None:
    seen: list[int] = []

    class Counts(Told):
        def on_trial_end(self, study: Any, trial: Any) -> None:
            super().on_trial_end(study, trial)
            seen.append(len(folders(tmp_path)))

    search = sklearn_search(n_iter=6, keep_models=2, callbacks=[Counts()], directory=tmp_path)
    search.fit(X, R)
    assert folders(tmp_path) == sorted(search.top(2).trial)
    assert search.kept_models == search.top(2).trial.tolist()
    assert seen == [1, 2, 2, 2, 2, 2]
    search.set_params(n_iter=8, keep_models=1).fit(X, R)
    assert folders(tmp_path) == search.top(1).trial.tolist()


def test_a_kept_model_predicts_as_its_trial_did(tmp_path: Path) -> None:
    search = tuner_search(
        Tiny(), ["learning_rate"], max_trials=3, keep_models=2, directory=tmp_path
    ).fit(F, Y, validation_data=VALID)
    for trial in search.kept_models:
        model = search.load_model(trial)
        logs = model.evaluate(*VALID)
        assert logs["loss"] == pytest.approx(search.results_.score[trial], rel=1e-6)
    best, second = search.best_estimators(2)
    mean = (best.predict_proba(F) + second.predict_proba(F)) / 2
    vote = search.ensemble(2)
    np.testing.assert_allclose(vote.predict_proba(F), mean, rtol=1e-6)
    assert vote.score(F, Y) == np.mean(vote.predict(F) == Y)

    study = load_study(tmp_path)
    assert study.kept_models == search.kept_models
    with pytest.raises(TypeError, match=r"saved by the class Tiny.*load_model\(trial, Tiny\)"):
        study.load_model(study.kept_models[0])
    again = study.ensemble(2, Tiny)
    np.testing.assert_array_equal(again.predict_proba(F), vote.predict_proba(F))


def test_a_classifier_needs_no_class_in_another_process(tmp_path: Path) -> None:
    estimator = Classifier(model="mlp", epochs=1, verbose=0)
    tuner_search(
        estimator, {"learning_rate": [0.01]}, tuner="grid", keep_models=1, directory=tmp_path
    ).fit(F, Y, validation_data=VALID)
    script = f"""
        from search import load_study
        model = load_study({str(tmp_path)!r}).load_model(0)
        print(type(model).__name__, model.predict([[1, 2, 3]]).shape)
    """
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    ).stdout
    assert shown == "Classifier (1,)\n"


def test_folds_of_a_trial_are_an_ensemble_and_regressors_are_averaged(tmp_path: Path) -> None:
    search = sklearn_search(keep_models=2, cv=3, directory=tmp_path).fit(X, R)
    model = search.load_model(search.kept_models[0])
    means = [m.mean_ for m in model.estimators_]
    assert len(means) == 3 and model.predict(X[:1])[0] == pytest.approx(np.mean(means))
    study = load_study(tmp_path)
    with pytest.raises(ValueError, match="may run code when it is loaded; write trust=True"):
        study.ensemble(2)
    both = study.ensemble(2, trust=True)
    assert both.predict(X).shape == (60,)


def test_a_pipeline_is_kept_with_its_steps(tmp_path: Path) -> None:
    search = sklearn_search(
        make_pipeline(StandardScaler(), Tiny(epochs=1)),
        {"tiny__learning_rate": [0.01]},
        method="grid",
        cv=None,
        keep_models=1,
        directory=tmp_path,
    ).fit(F, Y)
    assert search.load_model(0).predict(F).shape == (60,)


def test_workers_write_models_that_the_search_loads(tmp_path: Path) -> None:
    search = sklearn_search(
        Nearest(), {"shift": [0.0, 0.1, 5.0]}, method="grid", keep_models=2, directory=tmp_path
    )
    search.set_params(executor="processes", workers=2).fit(X, Y)
    assert folders(tmp_path) == sorted(search.top(2).trial)
    assert search.ensemble(2).predict_proba(X).shape == (60, 3)


@pytest.mark.parametrize(
    ("options", "call", "says"),
    [
        ({"keep_models": 1}, lambda s: s.load_model(9), "trial=9: its model was not kept"),
        ({"keep_models": 1}, lambda s: s.best_estimators(2), "k=2: the models of 1 trials"),
        ({"directory": None}, lambda s: s.load_model(0), "those kept are none.*keep_models=3"),
        ({"keep_models": 1}, lambda s: s.ensemble(0), "k=0: must be 1 or more"),
        ({"keep_models": 1}, lambda s: s.load_model(-1), "trial=-1: must be 0 or more"),
    ],
)
def test_models_that_are_not_there_are_a_clear_error(
    options: Any, call: Any, says: str, tmp_path: Path
) -> None:
    search = sklearn_search(Bowl(), **{"directory": tmp_path} | options).fit(X, R)
    with pytest.raises(ValueError, match=says):
        call(search)


@pytest.mark.parametrize("kind", ["x", Tiny(), dict])
def test_what_is_no_class_of_a_trainer_loads_no_model(kind: Any, tmp_path: Path) -> None:
    search = sklearn_search(Bowl(), keep_models=1, directory=tmp_path).fit(X, R)
    with pytest.raises(TypeError, match="kind=.*: must be the class of the Trainer; write kind=Cl"):
        search.ensemble(1, kind=kind)


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        (5, TypeError, "path=5: must be the name of a file; write 'report.html'"),
        ("r.pdf", ValueError, "path='r.pdf': must end in .html or .htm.*write 'r.html'"),
        ("r", ValueError, "path='r': must end in .html or .htm.*write 'r.html'"),
    ],
)
def test_a_page_has_the_name_of_a_page(path: Any, kind: Any, says: str) -> None:
    with pytest.raises(kind, match=says):
        made_studies.study(3).report(path)
