"""Bad data or a bad directory give one clear error before the first trial, and leave nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from bad_searches import Row, bowl, check, fit, near, net, net_cv, tuned
from light_estimators import Bowl, Nearest, Tiny
from light_searches import R, X, Y
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer import Float

HOLE = np.where(np.arange(180).reshape(60, 3) == 10, np.nan, X)
STREAM = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)

DATA: dict[str, Row] = {
    "too few rows of a class": (
        lambda: fit(near(cv=3), X[:8], np.array([0, 0, 0, 0, 1, 1, 2, 2])),
        ValueError,
        "cv=3: the class 1 has 2 rows, fewer than folds; write cv=2",
    ),
    "more folds than rows": (
        lambda: fit(bowl(cv=99)),
        ValueError,
        "cv=99: .*greater than the number of samples.*write cv=5",
    ),
    "text for cv": (lambda: fit(bowl(cv="five")), ValueError, "cv='five': .*write cv=5"),
    "no splits": (
        lambda: fit(bowl(cv=[])),
        ValueError,
        r"cv=\[\]: has no splits; write cv=5, or a list of \(train, test\)",
    ),
    "no splits of a Trainer": (
        lambda: fit(net(cv=[])),
        ValueError,
        r"cv=\[\]: has no splits; write cv=5",
    ),
    "splits beyond the rows": (
        lambda: fit(bowl(cv=[(np.arange(9), np.arange(90, 99))])),
        ValueError,
        "cv=.*split 0 has row numbers that do not exist; write row numbers from 0 to 59",
    ),
    "an empty split": (
        lambda: fit(bowl(cv=[(np.arange(9), np.arange(0))])),
        ValueError,
        "cv=.*split 0 has 9 rows to train on and 0 to test on",
    ),
    "a splitter without its groups": (
        lambda: fit(bowl(cv=GroupKFold(3))),
        ValueError,
        r"cv=GroupKFold\(.*groups.*fit\(\.\.\., groups=\.\.\.\)",
    ),
    "groups of other rows": (
        lambda: fit(bowl(cv=GroupKFold(3)), groups=[1, 2]),
        ValueError,
        "x has 60 rows, but groups has 2: .*each row",
    ),
    "groups without a splitter": (
        lambda: fit(tuned(), groups=Y),
        ValueError,
        r"groups: only used by a splitter; write cv=GroupKFold\(5\)",
    ),
    "y of other rows": (
        lambda: fit(bowl(), X, R[:50]),
        ValueError,
        "x has 60 rows, but y has 50: .*pass one value of y for each",
    ),
    "y of other rows, Trainer": (
        lambda: fit(net(), X, Y[:50]),
        ValueError,
        "x has 60 rows, but y has 50 rows: .*pass one target",
    ),
    "weights of other rows": (
        lambda: fit(bowl(), sample_weight=[1, 2]),
        ValueError,
        "x has 60 rows, but sample_weight has 2",
    ),
    "no rows": (lambda: fit(bowl(), None, R), TypeError, "x=None: pass the rows"),
    "one row": (lambda: fit(bowl(), X[:1], R[:1]), ValueError, "x has 1 sample: too few"),
    "single rows of classes": (
        lambda: fit(net(), X[:4], np.arange(4)),
        ValueError,
        "holding out 20% of 4 rows: .*pass validation_data, or write cv=",
    ),
    "NaN in x": (
        lambda: fit(net(), HOLE, Y),
        ValueError,
        r"x contains NaN, first at x\[3, 1\]; drop such rows",
    ),
    "NaN in x of scikit-learn": (
        lambda: fit(near(), HOLE, Y),
        ValueError,
        "Input X contains NaN[^$]*Nearest before the first trial",
    ),
    "validation data with cv": (
        lambda: fit(bowl(), validation_data=(X, R)),
        ValueError,
        "cv=2, validation_data: two ways to score a trial; write cv=None",
    ),
    "validation data without y": (
        lambda: fit(tuned(), validation_data=X),
        TypeError,
        r"validation_data=ndarray: must be \(x, y\).*write validation_data=\(x_valid, y_valid\)",
    ),
    "validation data of other rows": (
        lambda: fit(tuned(), validation_data=(X, R[:3])),
        ValueError,
        "validation_data: x has 60 rows, but y has 3",
    ),
    "validation data of other columns": (
        lambda: fit(net(), validation_data=(X[:, :2], Y)),
        ValueError,
        r"validation_data: x must have shape \(n, 3\)",
    ),
    "a generator": (
        lambda: fit(net(), (batch for batch in [X])),
        TypeError,
        "x=generator: a Python iterator can be read only once.*pass a keras.utils.PyDataset",
    ),
    "a stream without validation": (
        lambda: fit(net_cv(), STREAM),
        ValueError,
        "x=_BatchDataset: a stream cannot be split; pass validation_data.*with cv=None",
    ),
    "a stream for processes": (
        lambda: fit(net(executor="processes"), STREAM, validation_data=STREAM),
        ValueError,
        "x=_BatchDataset: a stream cannot be sent to other processes; .*executor='serial'",
    ),
    "a stream for scikit-learn": (
        lambda: fit(tuned(), STREAM, validation_data=STREAM),
        TypeError,
        "x=_BatchDataset: only a Trainer can be fitted on a stream.*is Bowl; pass arrays",
    ),
    "a stream for a pipeline": (
        lambda: fit(
            net(make_pipeline(StandardScaler(), Tiny()), space=["tiny__units"]),
            STREAM,
            validation_data=STREAM,
        ),
        TypeError,
        "x=_BatchDataset: .*is Pipeline; pass arrays",
    ),
    "a stream for a scorer": (
        lambda: fit(net(scoring="accuracy"), X, Y, validation_data=STREAM),
        ValueError,
        "a stream cannot be sent|validation_data=_BatchDataset: a stream, which scores",
    ),
    "a metric that nothing bears": (
        lambda: fit(net(objective=("val_acuracy", "max"))),
        ValueError,
        r"^objective='val_acuracy': there is no such metric; did you mean 'val_accuracy'.*\? The "
        r"logs are loss, .*\nThis error ended a fit of Tiny before the first trial.*too$",
    ),
    "a score of another kind of y": (
        lambda: fit(near(scoring="f1")),
        ValueError,
        "^Target is multiclass but average='binary'",
    ),
    "a score of probabilities": (
        lambda: fit(near(estimator=SGDClassifier(), space={"alpha": [1.0]}, scoring="roc_auc_ovr")),
        ValueError,
        "^AttributeError: .*predict_proba",
    ),
    "a scorer that gives text": (
        lambda: fit(near(scoring=lambda e, x, y: "good")),
        TypeError,
        "^scoring: returned 'good'; it must return a number",
    ),
    "a scorer that gives several": (
        lambda: fit(near(scoring=lambda e, x, y: {"a": 1.0, "b": 2.0})),
        ValueError,
        "^scoring=<lambda>: several scores, a, b; write refit='a'",
    ),
    "a scorer that gives one": (
        lambda: fit(near(scoring=lambda e, x, y: 1.0, refit="a")),
        ValueError,
        "^refit='a': scoring returns a single score; write refit=True",
    ),
    "weights that fit does not take": (
        lambda: fit(near(estimator=KNeighborsClassifier(), space={"p": [1, 2]}), sample_weight=R),
        TypeError,
        r"^KNeighborsClassifier\.fit\(\) got an unexpected keyword argument 'sample_weight'",
    ),
    "values that cannot be fitted": (
        lambda: fit(near(estimator=Nearest(kind="broken"), space={"kind": ["broken"]})),
        ValueError,
        "^ArithmeticError: kind='broken' cannot be fitted",
    ),
    "a plugin that is none": (
        lambda: fit(net(Tiny(callbacks=("early_stoping",)))),
        ValueError,
        "callbacks='early_stoping': .*did you mean 'early_stopping'",
    ),
    "rows that cannot be pickled": (
        lambda: fit(near(executor="processes"), [threading.Lock() for _ in Y], Y),
        TypeError,
        r"x=list: cannot be sent to other processes \(.*\); pass arrays, or write executor=",
    ),
    "an estimator that cannot be pickled": (
        lambda: fit(bowl(estimator=Bowl(b=threading.Lock()), executor="processes")),
        TypeError,
        r"cannot be sent to other processes \(.*\); write executor='serial'",
    ),
}


@pytest.mark.parametrize(("make", "kind", "says"), DATA.values(), ids=DATA)
def test_bad_data_are_told_of_before_the_first_trial(
    tmp_path: Path, make: Callable[[], Any], kind: type[Exception], says: str
) -> None:
    search, rows, more = make()
    search.set_params(directory=tmp_path / "study")
    check(search, rows, more, kind, says)
    assert not hasattr(search, "results_")
    # a corrected call may begin in the same directory, even where that must hold no study
    left = tmp_path / "study"
    assert not left.exists() or {path.name for path in left.iterdir()} <= {".lock"}
    corrected, right = bowl(directory=left, resume=False, n_iter=1)
    corrected.fit(*right)


# ---- the directory ---------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        search, rows = bowl(directory=path)
        check(search, rows, {}, ValueError, "directory='.*file.*': cannot be created .*; write")
    search, rows = bowl(directory=5)
    check(search, rows, {}, TypeError, "directory=5: must be the name of a folder; write 's")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: net(directory=path, tuner="tpr"),
        lambda path: net(directory=path, max_trials=0),
        lambda path: near(directory=path, method="gird"),
        lambda path: near(directory=path, n_iter=0),
        lambda path: near(directory=path, cv="3"),
        lambda path: near(directory=path, cv=50),
        lambda path: near(directory=path, cv=[]),
    ],
)
def test_what_is_refused_before_the_study_leaves_no_directory(tmp_path: Path, make: Any) -> None:
    search, rows = make(tmp_path / "study")
    with pytest.raises(ValueError, match="^(tuner|max_trials|method|n_iter|cv)="):
        search.fit(*rows)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_another_study_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    first = bowl(directory=tmp_path)[0].fit(X, R)
    others = {
        r"estimator\.b was 0\.0, is 1\.0": bowl(directory=tmp_path, estimator=Bowl(b=1.0))[0],
        r"space\.a was .*high=1\.0.*, is .*high=2": bowl(
            directory=tmp_path, space={"a": Float(0, 2)}
        )[0],
        "seed was 0, is 5": bowl(directory=tmp_path, seed=5)[0],
        "splits was '2, .*is '3, ": bowl(directory=tmp_path, cv=3)[0],
        "search.*class was 'SklearnSearch', is 'TunerSearch'": tuned(directory=tmp_path, cv=2)[0],
    }
    for says, search in others.items():
        text = check(search, (X, R), {}, ValueError, "directory=")
        assert re.search(says, text), text
    text = check(bowl(directory=tmp_path)[0], (X + 1, R), {}, ValueError, "directory=")
    assert "data" in text
    again = bowl(directory=tmp_path)[0].fit(X, R)
    assert again.results_.score.tolist() == first.results_.score.tolist()


def test_resume_must_agree_with_what_is_there(tmp_path: Path) -> None:
    search, rows = bowl(directory=tmp_path / "none", resume=True)
    check(search, rows, {}, ValueError, "resume=True: there is no study in .*resume='auto'")
    search, rows = bowl(resume=True)
    check(search, rows, {}, ValueError, "resume=True: there is no directory; write directory=")
    bowl(directory=tmp_path)[0].fit(X, R)
    search, rows = bowl(directory=tmp_path, resume=False)
    check(search, rows, {}, ValueError, "resume=False: .* holds a study; write resume='auto'")
    search.set_params(resume=True).fit(*rows)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.sqlite").write_bytes(b"something else" * 100)
    search, rows = bowl(directory=tmp_path)
    check(search, rows, {}, ValueError, "directory='.*': study.sqlite in it is not a study .*write")
    assert (tmp_path / "study.sqlite").read_bytes().startswith(b"something else")


def test_what_a_worker_says_reads_the_same(tmp_path: Path) -> None:
    search, rows, more = DATA["a metric that nothing bears"][0]()
    search.set_params(executor="processes", workers=1, directory=tmp_path)
    check(search, rows, more, *DATA["a metric that nothing bears"][1:])
