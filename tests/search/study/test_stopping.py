"""Early stopping in searches: what it watches, and how long the refit trains."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search import SklearnSearch, TunerSearch
from search.study import stopping
from trainer import Classifier, Regressor
from trainer.callbacks import EarlyStopping
from trainer.models import Chosen, Values

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 5)).astype("float32")
Y = (X[:, 0] + 0.3 * RNG.normal(size=90)).astype("float32")
LABELS = (Y > 0).astype(int)
STOPS = {"name": "early_stopping", "patience": 1}


class Wide(Regressor):
    """Overfits within a few epochs."""

    epochs: int = 40
    batch_size: int = 8
    learning_rate: float = 0.05
    verbose: int = 0
    callbacks: tuple = (STOPS,)

    def build_model(self, spec):
        return keras.Sequential(
            [layers.Input(spec.input_shape), layers.Dense(32, "relu"), layers.Dense(1)]
        )


def search(estimator, kind=SklearnSearch, **options):
    fields = {"executor": "serial", "verbose": 0, "seed": 0, "cv": 3}
    return kind(estimator, {"learning_rate": [0.05, 0.03]}, **fields | options)


@pytest.fixture(scope="module")
def folds():
    return search(Wide(random_state=0), n_iter=2).fit(X, Y)


def test_folds_stop_early_by_rows_that_they_do_not_score(folds) -> None:
    last = folds.epochs_.groupby(["trial", "fold"]).epoch.max()
    assert (last < 40).all(), last
    assert "val_loss" in folds.epochs_


def test_the_refit_trains_for_the_mean_of_the_epochs_whose_weights_were_kept(folds) -> None:
    best = folds.results_.iloc[folds.best_index_]
    logs = folds.epochs_[folds.epochs_.trial == best.trial]
    kept = [g.loc[g.val_loss.idxmin(), "epoch"] for _, g in logs.groupby("fold")]
    assert best.kept_epoch == np.mean(kept)
    assert folds.refit_epochs_ == round(np.mean(kept))
    assert len(folds.best_estimator_.history_) == folds.refit_epochs_
    assert not any(isinstance(c, EarlyStopping) for c in folds.best_estimator_.callbacks_)
    assert f"refit for {folds.refit_epochs_} epoch" in folds.summary()


def test_a_row_of_results_has_the_logs_of_the_epoch_whose_weights_were_kept(folds) -> None:
    for _, row in folds.results_.iterrows():
        logs = folds.epochs_[folds.epochs_.trial == row.trial]
        best = [g.loc[g.val_loss.idxmin()] for _, g in logs.groupby("fold")]
        assert row.val_loss == pytest.approx(np.mean([b.val_loss for b in best]), rel=1e-12)
        assert row.loss == pytest.approx(np.mean([b.loss for b in best]), rel=1e-12)


def test_the_score_of_a_log_in_a_fold_is_that_of_its_test_rows() -> None:
    cuts = [(np.arange(60), np.arange(60, 90))]
    found = search(
        Wide(random_state=0), TunerSearch, tuner="random", cv=cuts, max_trials=1, refit=False
    )
    found.fit(X, Y)
    alone = Wide(random_state=0, learning_rate=0.05).set_params(**found.best_params_)
    alone.set_params(validation_split=stopping.WATCHED).fit(X[:60], Y[:60])
    assert found.best_score_ == alone.evaluate(X[60:], Y[60:])["loss"]


def test_groups_stay_together_when_callbacks_watch(monkeypatch) -> None:
    groups = np.repeat(np.arange(9), 10)
    seen = []
    whole = stopping.with_watched_rows

    def spied(data, of_rows, seed, share):
        made = whole(data, of_rows, seed, share)
        seen.append((set(of_rows), made.n, len(made.validation[1])))
        return made

    monkeypatch.setattr(stopping, "with_watched_rows", spied)
    search(Wide(random_state=0, epochs=2), cv=GroupKFold(3), n_iter=1).fit(X, Y, groups=groups)
    assert [(n, watched) for _, n, watched in seen] == [(50, 10)] * len(seen)
    assert all(len(of_rows) == 6 for of_rows, *_ in seen)


def test_groups_stay_together_in_a_share_that_is_held_out(monkeypatch) -> None:
    shares = []
    whole = stopping.with_watched_rows

    def spied(data, of_rows, seed, share):
        shares.append(share)
        return whole(data, of_rows, seed, share)

    monkeypatch.setattr(stopping, "with_watched_rows", spied)
    estimator = Wide(random_state=0, epochs=1, validation_split=0.5)
    search(estimator, cv=GroupKFold(3), n_iter=1, refit=False).fit(
        X, Y, groups=np.repeat(np.arange(9), 10)
    )
    assert set(shares) == {0.5}


def test_what_watches_a_log() -> None:
    assert not stopping.watches(Wide(callbacks=()), None)
    assert stopping.watches(Wide(), None)
    assert stopping.watches(Wide(callbacks=(keras.callbacks.EarlyStopping(),)), None)
    own = Chosen(values=Values(early_stopping={"patience": 3}))  # of an architecture
    assert stopping.watches(Wide(callbacks=()), own)


def test_keras_early_stopping_and_a_pipeline_are_refitted_the_same_way() -> None:
    stops = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    trainer = Wide(random_state=0, callbacks=(stops,))
    pipeline = make_pipeline(StandardScaler(), trainer)
    made = SklearnSearch(
        pipeline,
        {"wide__learning_rate": [0.05]},
        executor="serial",
        verbose=0,
        seed=0,
        cv=3,
        n_iter=1,
    ).fit(X, Y)
    assert made.refit_epochs_ == max(1, round(made.results_.kept_epoch[0])) < 40
    assert len(made.best_estimator_[-1].history_) == made.refit_epochs_


def test_early_stopping_that_configure_callbacks_adds_is_warned_of() -> None:
    class Stubborn(Wide):
        callbacks: tuple = ()

        def configure_callbacks(self):
            return [EarlyStopping(patience=1, monitor="loss")]

    with pytest.warns(UserWarning, match="Stubborn.configure_callbacks adds early stopping"):
        search(Stubborn(random_state=0, epochs=2), n_iter=1).fit(X, Y)


def test_without_early_stopping_the_refit_trains_all_epochs() -> None:
    made = search(Classifier(epochs=2, verbose=0, random_state=0), n_iter=1).fit(X, LABELS)
    assert made.refit_epochs_ is None
    assert len(made.best_estimator_.history_) == 2
    assert "refit for" not in made.summary()
