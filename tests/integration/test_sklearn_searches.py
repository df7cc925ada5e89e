"""scikit-learn's own searches over a Trainer's annotated domains, in other processes too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import joblib
import keras
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from scipy import stats
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (allows the import below)
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.distributions import Distribution, distributions, grid
from search.space import Space, from_unit
from trainer import Bool, Choice, Classifier, Float, Int
from trainer.hyperparameters import Domain

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
SPACE = {
    "units": Int(2, 64, log=True),
    "learning_rate": Float(1e-3, 1e-1, log=True),
    "normalize": Choice(None, "standard"),
    "shuffle": Bool(),
    "batch_size": Int(16, 40, step=8),
    "validation_split": Float(0, 0.3, step=0.1),
}


class Net(Classifier):
    units: Annotated[int, Int(2, 64, log=True)] = 16
    epochs = 10
    learning_rate = 0.02
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(self.units, "relu"),
                keras.layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


def threads(*ignored: Any) -> int:
    """A scorer: how many threads TensorFlow runs operations on in this process."""
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    return names.count("tf_Compute")


# ---- domains ---------------------------------------------------------------------------------


def test_a_grid_is_that_of_the_space() -> None:
    found = list(ParameterGrid(grid(Net(), SPACE, levels=3)))
    expected = list(Space.of(Net(), SPACE).grid(3))
    assert sorted(map(_text, found)) == sorted(map(_text, expected))
    assert len(found) == 3 * 3 * 2 * 2 * 4 * 4


def _text(point: dict[str, Any]) -> str:
    return repr(sorted((name, type(value), value) for name, value in point.items() if value))


def test_sampled_points_lie_in_the_space_and_repeat_with_a_seed() -> None:
    space = Space.of(Net(), SPACE)
    first, again = (
        list(ParameterSampler(distributions(Net(), SPACE), 50, random_state=3)) for _ in range(2)
    )
    assert first == again
    for point in first:
        assert space.check(point) == point


def test_a_finite_space_is_sampled_without_repetition() -> None:
    space = {"shuffle": Bool(), "units": Int(2, 4), "validation_split": Float(0, 0.2, step=0.1)}
    points = list(ParameterSampler(distributions(Net(), space), 18, random_state=0))
    assert len({_text(p) for p in points}) == 18


@pytest.mark.parametrize("domain", [Int(2, 9, log=True), Float(-1, 3), Float(1e-3, 1, log=True)])
def test_draws_follow_the_domains_distribution(domain: Domain) -> None:
    generator, units = np.random.RandomState(0), np.random.RandomState(0).random_sample(4000)
    drawn = [Distribution(domain).rvs(random_state=generator) for _ in units]
    assert drawn == [from_unit(domain, float(u)) for u in units]
    if isinstance(domain, Int):
        shares = np.log1p(1 / np.arange(2, 10)) / np.log(10 / 2)
        counts = np.bincount(drawn, minlength=10)[2:]
        assert stats.chisquare(counts, shares * len(drawn)).pvalue > 1e-3
    else:
        assert isinstance(domain, Float)
        law = stats.loguniform(domain.low, domain.high) if domain.log else stats.uniform(-1, 4)
        assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


def test_a_condition_is_refused_with_the_name_of_its_parameter() -> None:
    space = {"shuffle": Bool(), "batch_size": Int(8, 32, when={"shuffle": True})}
    for translate in (grid, distributions):
        with pytest.raises(ValueError, match=r"batch_size: when=.*space=\['shuffle'\]"):
            translate(Net(), space)
    with pytest.raises(ValueError, match="levels=1: must be 2 or more"):
        grid(Net(), levels=1)


# ---- searches --------------------------------------------------------------------------------


def test_a_randomized_search_draws_from_the_annotated_domains() -> None:
    search = RandomizedSearchCV(
        Net(), distributions(Net()), n_iter=3, cv=2, random_state=0, refit=False
    ).fit(X, NAMES)
    units = search.cv_results_["param_units"]
    assert all(Int(2, 64).contains(int(n)) for n in units)
    assert search.best_score_ > 0.7


def test_a_halving_search_over_drawn_values_gives_the_best_more_epochs() -> None:
    search = HalvingRandomSearchCV(
        Net(),
        distributions(Net(), {"learning_rate": Float(1e-7, 1e-1, log=True)}),
        resource="epochs",
        min_resources=5,
        max_resources=20,
        n_candidates=4,
        factor=2,
        cv=2,
        random_state=0,
    ).fit(X, NAMES)
    assert search.n_resources_ == [5, 10, 20]
    assert search.n_candidates_ == [4, 2, 1]
    assert search.best_params_["epochs"] == 20
    assert len(search.best_estimator_.history_) == 20
    assert search.score(X, NAMES) > 0.8


# ---- in other processes ----------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux has them")
def test_worker_processes_share_the_cores_whatever_a_trainer_holds() -> None:
    """Takes 23 s: two pools of new workers, which import TensorFlow."""
    share = max(1, (os.cpu_count() or 1) // 2)
    # an optimizer, and a fitted model, start TensorFlow while a worker unpickles them
    holding = Net(optimizer=keras.optimizers.Adam(0.02))
    get_reusable_executor().shutdown(wait=True)  # TensorFlow starts once in a process
    pipeline = make_pipeline(StandardScaler(), holding)
    counted = cross_val_score(pipeline, X, NAMES, cv=2, n_jobs=2, scoring=threads)
    assert counted.tolist() == [share, share]
    get_reusable_executor().shutdown(wait=True)
    fitted = Net(epochs=1).fit(X, NAMES)
    counted = joblib.Parallel(n_jobs=2)(joblib.delayed(threads)(fitted) for _ in range(2))
    assert counted == [share, share]


def test_a_search_of_a_pipeline_in_two_processes_equals_one_in_this_process() -> None:
    pipeline = make_pipeline(StandardScaler(), Net(normalize=None))
    space = {"net__units": Int(2, 64, log=True), "net__learning_rate": [1e-7, 0.02]}
    found = [
        RandomizedSearchCV(
            pipeline,
            distributions(pipeline, space),
            n_iter=4,
            cv=2,
            n_jobs=jobs,
            random_state=0,
            scoring="neg_log_loss",
        ).fit(X, NAMES)
        for jobs in (None, 2)
    ]
    here, there = (search.cv_results_["mean_test_score"] for search in found)
    np.testing.assert_allclose(here, there, rtol=1e-6)
    assert found[1].best_params_["net__learning_rate"] == 0.02
    chosen = GridSearchCV(pipeline, grid(pipeline, ["net__units"], levels=2), cv=2, n_jobs=2)
    assert chosen.fit(X, NAMES).best_params_ == {"net__units": 64}
