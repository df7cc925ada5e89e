"""Classifier.decision_threshold: given or tuned, used by predict, saved, resumed and searched."""

from __future__ import annotations

import json
import pickle
import signal
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import warm
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV

from trainer import Classifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 3)).astype(np.float32)
RARE = (X[:, 0] + 0.7 * RNG.normal(size=240) > 1.6).astype(int)
WORDS = np.array(["no", "yes"])[RARE]
MANY = np.stack([RARE, (X[:, 1] > 0.8) * 1], axis=1)
TRAIN, VALID = slice(0, 160), slice(160, 240)


class Small(Classifier):
    """One dense layer, which learns in two epochs."""

    epochs = 2
    learning_rate = 0.05
    random_state = 0
    units: int | None = None

    def build_model(self, spec: Any) -> keras.Model:
        units = spec.n_outputs if self.units is None else self.units
        end = spec.output_activation if self.units is None else "sigmoid"
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(units, end)])


class Margin(Classifier):
    epochs = 2
    random_state = 0
    end: str = "tanh"

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1, self.end)])


def fitted(y: Any = RARE, **fields: Any) -> Small:
    return Small(**fields).fit(X[TRAIN], y[TRAIN], validation_data=(X[VALID], y[VALID]))


@pytest.fixture(scope="module")
def tuned() -> Small:
    return fitted(WORDS, decision_threshold="f1")


# ---- a number


@pytest.mark.parametrize("units", [None, 1], ids=["softmax", "sigmoid"])
def test_a_number_is_the_probability_above_which_the_positive_class_is_predicted(
    units: int | None,
) -> None:
    one = Small(decision_threshold=0.1, units=units).fit(X, WORDS)
    p = one.predict_proba(X)[:, 1]
    assert 0 < (p > 0.1).sum() != (p > 0.5).sum()
    np.testing.assert_array_equal(one.predict(X), np.where(p > 0.1, "yes", "no"))
    assert one.decision_threshold_ == 0.1
    assert one.score(X, WORDS) == np.mean(one.predict(X) == WORDS)
    assert "'yes' is positive, above 0.1" in one.summary()


def test_a_number_is_of_pos_label() -> None:
    one = Small(decision_threshold=0.95, pos_label="no").fit(X, WORDS)
    p = one.predict_proba(X)[:, 0]
    np.testing.assert_array_equal(one.predict(X), np.where(p > 0.95, "no", "yes"))


def test_one_half_predicts_what_no_threshold_predicts() -> None:
    np.testing.assert_array_equal(
        Small(decision_threshold=0.5).fit(X, RARE).predict(X), Small().fit(X, RARE).predict(X)
    )


def test_a_number_is_of_each_of_several_labels() -> None:
    one = Small(decision_threshold=0.2).fit(X, MANY)
    np.testing.assert_array_equal(one.predict(X), (one.predict_proba(X) > 0.2) * 1)
    np.testing.assert_array_equal(one.decision_threshold_, [0.2, 0.2])
    assert "labels predicted, above 0.2, 0.2" in one.summary()


def test_one_hot_rows_of_two_classes_are_predicted_by_the_threshold() -> None:
    rows = np.eye(2)[RARE]
    one = Small(decision_threshold=0.1, loss="categorical_crossentropy").fit(X, rows)
    p = one.predict_proba(X)[:, 1]
    np.testing.assert_array_equal(one.predict(X), np.eye(2)[(p > 0.1) * 1])


def test_without_the_field_the_attribute_is_none() -> None:
    assert fitted().decision_threshold_ is None


# ---- the name of a metric


@pytest.mark.parametrize(
    ("metric", "score"), [("f1", f1_score), ("balanced_accuracy", balanced_accuracy_score)]
)
def test_a_name_is_tuned_on_the_validation_rows(metric: str, score: Any) -> None:
    one = fitted(decision_threshold=metric)
    found = one.decision_threshold_
    assert isinstance(found, float) and 0 < found < 1
    p = one.predict_proba(X[VALID])[:, 1]
    best = max(score(RARE[VALID], p > cut) for cut in np.linspace(0, 1, 500))
    assert score(RARE[VALID], one.predict(X[VALID])) >= best > score(RARE[VALID], p > 0.5)


def test_the_weights_of_the_network_do_not_depend_on_it(tuned: Small) -> None:
    plain = fitted(WORDS)
    for a, b in zip(plain.model_.get_weights(), tuned.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_of_several_labels_is_tuned_by_itself() -> None:
    one = fitted(MANY, decision_threshold="f1")
    assert one.decision_threshold_.shape == (2,)
    p = one.predict_proba(X[VALID])
    for i in range(2):
        best = max(f1_score(MANY[VALID, i], p[:, i] > cut) for cut in np.linspace(0, 1, 500))
        assert f1_score(MANY[VALID, i], one.predict(X[VALID])[:, i]) >= best


def test_a_label_with_one_value_in_the_validation_rows_has_one_half_and_a_warning() -> None:
    y = MANY.copy()
    y[VALID, 0] = 0
    with pytest.warns(UserWarning, match=r"only one value of the label\(s\) 0"):
        one = fitted(y, decision_threshold="f1")
    assert one.decision_threshold_[0] == 0.5 != one.decision_threshold_[1]


def test_a_split_and_a_stream_are_validation_rows_too() -> None:
    split = Small(decision_threshold="f1", validation_split=0.4).fit(X, WORDS)
    assert 0 < split.decision_threshold_ < 1
    of_arrays = fitted(decision_threshold="f1").decision_threshold_
    valid = tf.data.Dataset.from_tensor_slices((X[VALID], RARE[VALID])).batch(16)
    of_stream = Small(decision_threshold="f1").fit(X[TRAIN], RARE[TRAIN], validation_data=valid)
    assert of_stream.decision_threshold_ == pytest.approx(of_arrays, rel=1e-4)


def test_weights_of_validation_rows_count() -> None:
    weight = np.where(RARE == 1, 20.0, 1.0)
    rows = tf.data.Dataset.from_tensor_slices((X[VALID], RARE[VALID], weight[VALID])).batch(16)
    plain = fitted(decision_threshold="accuracy").decision_threshold_
    for valid in ((X[VALID], RARE[VALID], weight[VALID]), rows):
        one = Small(decision_threshold="accuracy")
        one.fit(X[TRAIN], RARE[TRAIN], validation_data=valid)
        assert one.decision_threshold_ < plain


def test_margins_of_a_hinge_can_be_tuned() -> None:
    one = Margin(decision_threshold="balanced_accuracy", loss="hinge", learning_rate=0.05)
    one.fit(X[TRAIN], RARE[TRAIN], validation_data=(X[VALID], RARE[VALID]))
    plain = Margin(loss="hinge", learning_rate=0.05).fit(X[TRAIN], RARE[TRAIN])
    scores = [balanced_accuracy_score(RARE[VALID], c.predict(X[VALID])) for c in (one, plain)]
    assert scores[0] > scores[1]


def test_predictions_that_are_not_finite_leave_one_half_and_a_warning() -> None:
    class Broken(Small):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return keras.ops.mean(y_pred) * float("nan")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one = Broken(decision_threshold="f1", from_logits=False)
        one.fit(X[TRAIN], RARE[TRAIN], validation_data=(X[VALID], RARE[VALID]))
    assert any("not finite, so that no threshold was tuned" in str(w.message) for w in caught)
    assert one.decision_threshold_ is None


# ---- clone, files, runs, searches


def test_clones_pickles_and_files_keep_it(tuned: Small, tmp_path: Path) -> None:
    assert clone(tuned).decision_threshold == "f1"
    expected = tuned.predict(X)
    copy = pickle.loads(pickle.dumps(tuned))
    assert copy.decision_threshold_ == tuned.decision_threshold_
    np.testing.assert_array_equal(copy.predict(X), expected)
    loaded = Small.load(tuned.save(tmp_path / "tuned.keras"))
    assert loaded.decision_threshold_ == tuned.decision_threshold_
    np.testing.assert_array_equal(loaded.predict(X), expected)


def test_a_new_process_predicts_the_same(tmp_path: Path) -> None:
    one = Classifier(epochs=2, random_state=0, decision_threshold="f1", validation_split=0.3)
    path = one.fit(X, WORDS).save(tmp_path / "one.keras")
    np.savez(tmp_path / "rows.npz", x=X, expected=one.predict(X))
    program = f"""
import numpy as np
from trainer import Classifier
rows = np.load({str(tmp_path / "rows.npz")!r})
loaded = Classifier.load({str(path)!r})
assert loaded.decision_threshold_ == {one.decision_threshold_!r}
np.testing.assert_array_equal(loaded.predict(rows["x"]), rows["expected"])
"""
    done = warm.run(program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_file_without_the_field_and_the_threshold_loads(tmp_path: Path) -> None:
    path = fitted().save(tmp_path / "old.keras")
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("trainer.json"))
    assert "thresholds" not in meta["targets"]["labels"][0]
    del meta["fields"]["decision_threshold"]
    old = tmp_path / "older.keras"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(old, "w") as made:
        for name in archive.namelist():
            content = json.dumps(meta) if name == "trainer.json" else archive.read(name)
            made.writestr(name, content)
    assert Small.load(old).decision_threshold_ is None


def test_checkpoints_and_the_model_of_a_run_hold_a_threshold(tmp_path: Path) -> None:
    fields = {
        "decision_threshold": "f1",
        "run_dir": tmp_path / "run",
        "callbacks": [{"name": "checkpoint", "keep": 2}],
    }
    one = fitted(**fields)
    files = sorted((tmp_path / "run").rglob("*.keras"))
    assert len(files) > 1
    loaded = [Small.load(file) for file in files]
    assert all(isinstance(each.decision_threshold_, float) for each in loaded)
    again = fitted(**fields)  # given back from the finished run
    assert again.decision_threshold_ == one.decision_threshold_
    finished = Small.load(tmp_path / "run" / "model.keras")
    assert finished.decision_threshold_ == one.decision_threshold_


KILLED = """
import os, signal, sys
import keras
import numpy as np
from trainer import Classifier

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and {kill}:
            os.kill(os.getpid(), signal.SIGKILL)

rows = np.load("rows.npz")
one = Classifier(epochs=3, random_state=0, decision_threshold="f1", validation_split=0.3,
                 run_dir={run!r}, save_minutes=1e-6, save_steps=1, verbose=0, callbacks=[Kill()])
one.fit(rows["x"], rows["y"], resume="force")
print(repr(one.decision_threshold_), [w.tobytes().hex() for w in one.model_.get_weights()])
"""


def test_a_killed_run_ends_with_the_threshold_of_an_uninterrupted_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=X, y=RARE)
    whole = warm.run(KILLED.format(kill=False, run="whole"), cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    killed = warm.run(KILLED.format(kill=True, run="killed"), cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = warm.run(KILLED.format(kill=False, run="killed"), cwd=tmp_path)
    assert resumed.stdout == whole.stdout != ""


def test_a_training_that_ctrl_c_ends_is_fitted_with_a_threshold() -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                signal.raise_signal(signal.SIGINT)

    one = Small(decision_threshold="f1", callbacks=[Stop()])
    with pytest.raises(KeyboardInterrupt):
        one.fit(X[TRAIN], RARE[TRAIN], validation_data=(X[VALID], RARE[VALID]))
    assert len(one.history_) == 1
    assert isinstance(one.decision_threshold_, float)


def test_a_name_set_after_fit_is_not_silently_ignored() -> None:
    one = Small().fit(X, RARE).set_params(decision_threshold="f1")
    with pytest.warns(UserWarning, match="decision_threshold='f1': was not tuned"):
        one.predict(X)


def test_a_search_scores_by_predictions_with_the_threshold() -> None:
    search = GridSearchCV(
        Small(validation_split=0.3, epochs=10),
        {"decision_threshold": [0.999, "balanced_accuracy"]},
        scoring="balanced_accuracy",
        cv=2,
    ).fit(X, RARE)
    assert search.best_params_ == {"decision_threshold": "balanced_accuracy"}
    assert search.cv_results_["mean_test_score"][0] == 0.5


def test_curves_are_drawn_of_the_positive_class_or_of_each() -> None:
    one = Small(pos_label="no").fit(X, WORDS)
    for plot in (one.plot_roc, one.plot_precision_recall, one.plot_calibration):
        assert " of no " in plot(X, WORDS).get_title()
    assert " of good " in one.plot_roc(X, WORDS, class_names=["good", "bad"]).get_title()
    labels = Small().fit(X, MANY).plot_roc(X, MANY, class_names=["rare", "often"])
    assert [t.get_text().split(":")[0] for t in labels.get_legend().get_texts()] == [
        "rare",
        "often",
    ]
    with pytest.raises(ValueError, match=r"class_names=\['a'\]: must have a name for each"):
        one.plot_roc(X, WORDS, class_names=["a"])
