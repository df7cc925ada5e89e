"""Searches on tables with several kinds of columns, and on rows of which some have no target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.model_selection import GroupKFold

from search import SklearnSearch, TunerSearch
from trainer import Classifier, Float

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "id": np.arange(N) + 1000,
        "number": RNG.normal(size=N),
        "town": RNG.choice(["a", "b", "c"], N),
        "size": pd.Categorical(RNG.choice(["lo", "hi"], N), ["lo", "hi"], ordered=True),
        "day": pd.date_range("2020-01-01", periods=N, freq="31h"),
        "text day": pd.date_range("2020-01-01", periods=N).strftime("%d.%m.%Y"),
    }
)
FRAME = FRAME.mask(RNG.random(FRAME.shape) < 0.05)
GONE = np.arange(N) % 20 == 7
Y = np.where(GONE, None, np.where(FRAME["number"].fillna(0) > 0, "up", "down"))
SPACE = {"learning_rate": Float(0.01, 0.1, log=True)}

pytestmark = pytest.mark.filterwarnings("ignore:x. left out:UserWarning")


class Small(Classifier):
    epochs = 1
    batch_size = 16
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs, "softmax")]
        )


def tuner(**options: Any) -> TunerSearch:
    given = {"tuner": "random", "max_trials": 1, "seed": 0, "verbose": 0, "executor": "serial"}
    return TunerSearch(Small(), SPACE, **given | options)


def sklearn(**options: Any) -> SklearnSearch:
    given = {"n_iter": 1, "cv": 2, "seed": 0, "verbose": 0, "executor": "serial"}
    return SklearnSearch(Small(), SPACE, **given | options)


@pytest.mark.parametrize("make", [tuner, sklearn])
def test_a_search_without_the_rows_that_have_no_target_is_the_same(make: Any) -> None:
    groups, weight = np.arange(N) // 4, np.arange(N) + 1.0
    cut = {"groups": groups[~GONE], "sample_weight": weight[~GONE]}
    expected = make(cv=GroupKFold(3)).fit(FRAME[~GONE], Y[~GONE], **cut)
    with pytest.warns(UserWarning, match="y: 3 of 60 rows have no target") as told:
        found = make(cv=GroupKFold(3)).fit(FRAME, Y, groups=groups, sample_weight=weight)
    ours = [w for w in told if "no target" in str(w.message)]
    assert len(ours) == 1 and ours[0].filename == __file__
    assert found.results_["score"].tolist() == expected.results_["score"].tolist()
    np.testing.assert_array_equal(found.predict_proba(FRAME), expected.predict_proba(FRAME))


def test_validation_rows_without_a_target_are_left_out_and_workers_get_the_table(
    tmp_path: Path,
) -> None:
    options = {"executor": "processes", "workers": 1, "directory": tmp_path / "study"}
    with pytest.warns(UserWarning, match="validation_data: y: 3 of 60"):
        search = tuner(**options).fit(FRAME, Y, validation_data=(FRAME, Y))
    assert (search.results_["state"] == "completed").all()
    with pytest.warns(UserWarning, match="y: 3 of 60"):  # the study is the same
        again = tuner(**options).fit(FRAME, Y, validation_data=(FRAME, Y))
    assert again.results_["score"].tolist() == search.results_["score"].tolist()
    later = FRAME.assign(day=FRAME["day"] + pd.Timedelta(1, "h"))
    with pytest.raises(ValueError, match="data.training.x was"), pytest.warns(UserWarning):
        tuner(**options).fit(later, Y, validation_data=(FRAME, Y))


def test_missing_targets_can_be_refused_before_any_trial() -> None:
    search = sklearn()
    search.estimator.missing_target = "raise"
    with pytest.raises(ValueError, match="y: 3 of 60 rows have no target.*'drop'"):
        search.fit(FRAME, Y)
    with pytest.raises(ValueError, match="60 of 60 rows have no target.*none remains"):
        sklearn().fit(FRAME, np.full(N, None))


def test_polars_and_sparse_rows_are_searched_on() -> None:
    pl = pytest.importorskip("polars", reason="polars is not a dependency; CI installs it")
    labels = np.where(FRAME["number"].fillna(0) > 0, "up", "down")
    frame = FRAME.drop(columns="size")
    found = sklearn(refit=False).fit(pl.from_pandas(frame), labels)
    expected = sklearn(refit=False).fit(frame, labels)
    assert found.results_["score"].tolist() == expected.results_["score"].tolist()
    x = np.where(RNG.random((N, 6)) < 0.3, 1.0, 0.0)
    sparse = sklearn().fit(scipy.sparse.coo_array(x), labels)
    np.testing.assert_array_equal(sparse.predict(scipy.sparse.csr_matrix(x)), sparse.predict(x))
