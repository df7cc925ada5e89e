"""The architectures for text, from fit to a file that another process loads.

The texts are 60 short ones whose last word tells the class.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import warm

from search import TunerSearch
from trainer import Classifier, Regressor
from trainer.hyperparameters import Choice
from trainer.models import ARCHITECTURES, Look

RNG = np.random.default_rng(0)
WORDS = ["red", "green", "blue", "dog", "cat", "house", "tree", "film", "plot", "actor"]
TEXTS = [" ".join([*RNG.choice(WORDS, 6), ("awful", "excellent")[i % 2]]) for i in range(60)]
LABELS = np.array(["neg", "pos"] * 30)
NUMBERS = RNG.normal(size=(60, 3))
CHINESE = [f"{''.join(RNG.choice(list('电影演员剧情音乐'), 6))}{'差好'[i % 2]}" for i in range(60)]


def small(**fields: Any) -> Classifier:
    return Classifier(**{"epochs": 2, "random_state": 0} | fields)


def pairs(batch: int | None = None) -> tf.data.Dataset:
    found = tf.data.Dataset.from_tensor_slices((TEXTS, (LABELS == "pos").astype(int)))
    return found if batch is None else found.batch(batch)


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    return small().fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    "form",
    [np.array, pd.Series, lambda t: np.array(t, np.dtypes.StringDType()), tf.constant],
    ids=["array", "Series", "StringDType", "tensor"],
)
def test_text_in_every_form_gives_the_same_model(form: Any, fitted: Classifier) -> None:
    found = small().fit(form(TEXTS), LABELS)
    np.testing.assert_array_equal(found.predict_proba(form(TEXTS)), fitted.predict_proba(TEXTS))


def test_text_is_learned_and_evaluated(fitted: Classifier) -> None:
    assert fitted.network_.architecture.name == "text"
    assert fitted.score(TEXTS, LABELS) > 0.9
    assert set(fitted.evaluate(TEXTS, LABELS)) == {"loss", "accuracy"}
    assert fitted.predict([TEXTS[1]]).tolist() == ["pos"]
    assert not hasattr(fitted, "n_features_in_")


def test_the_summary_says_how_text_is_cut(fitted: Classifier) -> None:
    said = fitted.summary()
    assert "inputs        x text" in said
    assert "x is text, cut into words: 12 words and" in said
    chinese = small().fit(CHINESE, LABELS)
    assert "x is text, cut into characters" in chinese.summary()
    assert "pairs and triples" in chinese.summary()
    assert chinese.score(CHINESE, LABELS) > 0.9


def test_a_saved_model_predicts_the_same_in_a_new_process(
    fitted: Classifier, tmp_path: Path
) -> None:
    path = fitted.save(tmp_path / "text.keras")
    script = (
        "import json, sys; import keras; from trainer import Classifier\n"
        "texts = json.loads(sys.argv[2])\n"
        "loaded = Classifier.load(sys.argv[1])\n"
        "plain = keras.models.load_model(sys.argv[1])\n"
        "import numpy as np\n"
        "print(json.dumps([loaded.predict_proba(texts).tolist(),\n"
        "    plain.predict(np.array(texts, object), verbose=0).tolist(), loaded.summary()]))\n"
    )
    done = warm.run(script, path, json.dumps(TEXTS))
    assert done.returncode == 0, done.stderr[-2000:]
    ours, plain, summary = json.loads(done.stdout.splitlines()[-1])
    assert ours == fitted.predict_proba(TEXTS).tolist()
    np.testing.assert_allclose(plain, ours, atol=1e-6)
    assert "cut into words: 12 words" in summary


KILLED = """
import hashlib, os, signal, sys
import numpy as np
from trainer import Classifier
from trainer.callbacks.callback import Callback

class Kill(Callback):
    every_n_batches = 1
    at: int = -1
    def on_train_begin(self, logs=None):
        self.batches = 0
    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == int(os.environ.get("KILL_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)

rng = np.random.default_rng(3)
texts = [" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(60)]
labels = ["c" in t for t in texts]
made = Classifier(
    epochs=3, batch_size=8, random_state=1, run_dir=sys.argv[1],
    save_steps=2, callbacks=[Kill()], verbose=0,
).fit(texts, labels)
weights = b"".join(np.ascontiguousarray(w).tobytes() for w in made.model_.get_weights())
print(hashlib.sha256(weights).hexdigest(), made.history_.records[-1]["val_loss"])
"""


def test_a_killed_training_on_text_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = warm.run(KILLED, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    monkeypatch.setenv("KILL_AT", "11")
    assert warm.run(KILLED, tmp_path / "cut").returncode == -signal.SIGKILL
    monkeypatch.delenv("KILL_AT")
    resumed = warm.run(KILLED, tmp_path / "cut")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]


def test_streams_of_text_train_score_and_predict(fitted: Classifier) -> None:
    batched = small().fit(pairs(16), validation_data=pairs())
    assert batched.score(pairs(16)) > 0.9
    found = batched.predict_proba(TEXTS)
    np.testing.assert_allclose(batched.predict_proba(pairs(16)), found, atol=1e-6)
    np.testing.assert_allclose(batched.predict_proba(pairs()), found, atol=1e-6)
    words = [m.network_.architecture.learned.vocabularies[0].tokens for m in (batched, fitted)]
    assert set(words[0]) == set(words[1])
    with pytest.raises(ValueError, match=r"x is numbers \(float64\), but Classifier was trained"):
        batched.predict(tf.data.Dataset.from_tensor_slices(np.ones((4, 2))).batch(2))


@pytest.mark.parametrize("model", ["text", "transformer"])
def test_text_stands_beside_other_inputs(model: str, tmp_path: Path) -> None:
    x = {"title": TEXTS, "numbers": NUMBERS, "body": TEXTS[::-1]}
    made = small(model=model).fit(x, LABELS)
    assert made.score(x, LABELS) > 0.8
    loaded = Classifier.load(made.save(tmp_path / "dict.keras"))
    np.testing.assert_array_equal(loaded.predict_proba(x), made.predict_proba(x))
    spec = {name: shape for name, (shape, _) in _by_name(made).items()}
    assert spec["other_0"] == (3,)
    with pytest.raises(ValueError, match=r"x\['title'\] contains both text and int"):
        made.predict({**x, "title": [*TEXTS[:-1], 3]})


def _by_name(made: Classifier) -> dict[str, Any]:
    inputs = made.network_.inputs
    return {k: (inputs.shapes[k], inputs.dtypes[k]) for k in inputs.shapes}


def test_columns_of_text_stand_beside_the_others_of_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"size": NUMBERS[:, 0], "review": TEXTS, "town": ["a", "b", "c"] * 20}, index=range(9, 69)
    )
    frame.loc[frame.index[:3], "review"] = [None, np.nan, ""]
    with pytest.warns(UserWarning, match=r"x\['review'\]: \d of \d+ texts are missing"):
        made = small().fit(frame, LABELS)
    assert made.network_.architecture.name == "text"
    assert made.score(frame, LABELS) > 0.9
    assert made.n_features_in_ == 3
    assert "1 numeric and 1 categorical columns (also 1 text)" in made.summary()
    loaded = Classifier.load(made.save(tmp_path / "table.keras"))
    np.testing.assert_array_equal(loaded.predict_proba(frame[:1]), made.predict_proba(frame[:1]))
    only = small().fit(frame[["review"]].fillna(""), LABELS)
    assert only.score(frame[["review"]].fillna(""), LABELS) > 0.9
    with pytest.warns(
        UserWarning, match=r"model='mlp' does not read columns of text: \['review'\]"
    ):
        assert small(model="mlp").fit(frame, LABELS).score(frame[["size", "town"]], LABELS) > 0
    with pytest.raises(ValueError, match="does not read columns of text, and x has no others"):
        small(model="mlp").fit(frame[["review"]].fillna(""), LABELS)


@pytest.mark.parametrize("model", ["text_rnn", "transformer"])
def test_padding_changes_no_prediction_and_empty_texts_have_one(model: str) -> None:
    made = small(model=model, epochs=1).fit(TEXTS, LABELS)
    assert np.isfinite(made.predict_proba(["", "zzz"])).all()
    core = made.network_.core
    ids = made.network_.inputs.prepare([TEXTS[0]], "Classifier")
    # a text of other words where there is padding, and the same weights
    table = next(layer for layer in core.layers if layer.name == "embedding_0")
    before = core.predict(np.pad(ids[:, :-2], ((0, 0), (0, 2))), verbose=0)
    rows = table.embeddings.numpy()
    rows[0] += 5.0
    table.embeddings.assign(rows)
    after = core.predict(np.pad(ids[:, :-2], ((0, 0), (0, 2))), verbose=0)
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_regression_several_labels_and_several_outputs_take_text() -> None:
    numbers = Regressor(random_state=0).fit(TEXTS, np.arange(60) % 2 * 10.0)
    assert numbers.score(TEXTS, np.arange(60) % 2 * 10.0) > 0.5
    marks = np.stack([np.arange(60) % 2, np.arange(60) % 3 == 0], axis=1).astype(int)
    several = small().fit(TEXTS, marks)
    assert (several.predict(TEXTS)[:, 0] == marks[:, 0]).mean() > 0.9
    both = small().fit(TEXTS, {"tone": LABELS, "third": np.arange(60) % 3})
    assert (both.predict(TEXTS)["tone"] == LABELS).mean() > 0.9


def test_the_linear_part_starts_at_naive_bayes_and_stays_finite_without_features() -> None:
    made = small(model={"name": "text", "embedding": 0, "pairs": False}, epochs=1)
    made.fit(TEXTS, LABELS)
    known = made.network_.architecture.learned
    assert known.vocabularies[0].grams == ()
    assert made.score(TEXTS, LABELS) > 0.9


def test_equal_seeds_give_equal_bytes_and_other_vocabularies_other_graphs() -> None:
    first, second = (small().fit(TEXTS, LABELS).predict_proba(TEXTS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    swapped = [t.replace("excellent", "zzz").replace("awful", "excellent") for t in TEXTS]
    other = small().fit(swapped, LABELS)
    assert other.score(swapped, LABELS) > 0.9
    assert other.predict(["excellent"]).tolist() == ["neg"]


@pytest.mark.parametrize("model", ["text", "text_rnn", "transformer"])
def test_every_option_of_an_architecture_has_a_domain_that_it_accepts(model: str) -> None:
    one = ARCHITECTURES[model]
    options = {name.removeprefix("model__") for name in one.domains() if "__" in name}
    assert options <= set(one.options)
    look = Look(np.array(TEXTS, object), LABELS, 60, "classification")
    assert one.values(look).batch_size == 16
    assert one.suits(look) == (model == "text")


def test_a_search_over_architectures_takes_text() -> None:
    search = TunerSearch(
        small(epochs=1),
        space={"model": Choice("text", "transformer")},
        tuner="grid",
        executor="serial",
        verbose=0,
    )
    search.fit(TEXTS, LABELS)
    assert search.predict(TEXTS).shape == (60,)
    assert {r["model"] for r in search.results_.to_dict("records")} == {"text", "transformer"}
