"""Layers of text in a build_model of one's own: their vocabulary comes from the training rows."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer import Classifier

TEXTS = [f"{'good' if i % 2 else 'bad'} film {'abc'[i % 3]}" for i in range(24)]
LABELS = np.arange(24) % 2
OTHER = [t.replace("good", "x").replace("bad", "good").replace("x", "bad") for t in TEXTS]


class Own(Classifier):
    """Sequential, as Keras' guides write it."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((1,), dtype="string"),
                layers.TextVectorization(max_tokens=50, output_sequence_length=4),
                layers.Embedding(50, 4),
                layers.GlobalAveragePooling1D(),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Subclassed(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        class Model(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.words = layers.TextVectorization(max_tokens=50, output_sequence_length=4)
                self.table = layers.Embedding(50, 4)
                self.out = layers.Dense(spec.n_outputs, "softmax")

            def call(self, x: Any) -> Any:
                return self.out(keras.ops.mean(self.table(self.words(x)), axis=1))

        return Model()


class Pair(Classifier):
    """Two inputs of text with vocabularies of their own."""

    def build_model(self, spec: Any) -> keras.Model:
        inputs = {k: keras.Input((), dtype="string", name=k) for k in spec.input_shape}
        parts = []
        for one in inputs.values():
            words = layers.TextVectorization(max_tokens=50, output_sequence_length=3)(one)
            parts.append(layers.Flatten()(layers.Embedding(50, 2)(words)))
        return keras.Model(inputs, layers.Dense(2, "softmax")(layers.Concatenate()(parts)))


def small(kind: type[Classifier], **fields: Any) -> Classifier:
    return kind(**{"epochs": 1, "random_state": 0} | fields)


@pytest.mark.parametrize("kind", [Own, Subclassed])
def test_a_layer_without_a_vocabulary_learns_it_and_it_is_saved(
    kind: type[Classifier], tmp_path: Path
) -> None:
    made = small(kind).fit(TEXTS, LABELS, validation_data=([*TEXTS[:3], "unheard"], LABELS[:4]))
    (words,) = made.network_.inputs.vocabularies
    assert set(words) == {"good", "bad", "film", "a", "b", "c"}
    found = made.predict_proba(TEXTS)
    loaded = kind.load(made.save(tmp_path / "own.keras"))
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), found)
    assert loaded.network_.inputs.vocabularies == [words]


def test_plain_keras_and_pickle_keep_the_vocabulary(tmp_path: Path) -> None:
    made = small(Own).fit(TEXTS, LABELS)
    found = made.predict_proba(TEXTS)
    plain = keras.models.load_model(made.save(tmp_path / "own.keras"))
    np.testing.assert_allclose(plain.predict(np.array(TEXTS, object), verbose=0), found, 1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).predict_proba(TEXTS), found)


def test_two_fits_in_a_process_do_not_share_a_vocabulary() -> None:
    first, second = (small(Own, epochs=30).fit(t, LABELS) for t in (TEXTS, OTHER))
    assert first.score(TEXTS, LABELS) == second.score(OTHER, LABELS) == 1.0
    renamed = small(Own, epochs=30).fit([t.replace("film", "zzz") for t in TEXTS], LABELS)
    assert "zzz" in renamed.network_.inputs.vocabularies[0]


def test_a_stream_gives_the_vocabulary_too() -> None:
    made = small(Own).fit(tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(8))
    assert set(made.network_.inputs.vocabularies[0]) == {"good", "bad", "film", "a", "b", "c"}


def test_each_layer_reads_its_own_input(tmp_path: Path) -> None:
    x = {"b": ["one two"] * 24, "a": TEXTS}
    made = small(Pair).fit(x, LABELS)
    assert sorted(map(sorted, made.network_.inputs.vocabularies)) == [
        ["a", "b", "bad", "c", "film", "good"],
        ["one", "two"],
    ]
    loaded = Pair.load(made.save(tmp_path / "pair.keras"))
    np.testing.assert_array_equal(loaded.predict_proba(x), made.predict_proba(x))


class Given(Own):
    def build_model(self, spec: Any) -> keras.Model:
        model = super().build_model(spec)
        model.layers[0].set_vocabulary(["film", "good"])
        return model


def test_a_vocabulary_from_build_model_stays() -> None:
    made = small(Given).fit(TEXTS, LABELS)
    assert made.network_.inputs.vocabularies == [["film", "good"]]


class Narrow(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        x = keras.Input((), dtype="string")
        words = layers.TextVectorization(output_sequence_length=4)(x)
        y = layers.Flatten()(layers.Embedding(3, 2, name="narrow")(words))
        return keras.Model(x, layers.Dense(2, "softmax")(y))


class Counts(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        x = keras.Input((), dtype="string")
        words = layers.TextVectorization(
            output_mode="multi_hot", max_tokens=9, pad_to_max_tokens=True
        )(x)
        return keras.Model(x, layers.Dense(2, "softmax")(words))


class Hidden(Classifier):
    """Which input the layer reads cannot be seen."""

    def build_model(self, spec: Any) -> keras.Model:
        class Model(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.words = layers.TextVectorization(output_sequence_length=4)

        return Model()


@pytest.mark.parametrize(
    ("kind", "x", "parts"),
    [
        (Narrow, TEXTS, ("8 words", "'narrow' only 3", "max_tokens=n")),
        (Counts, TEXTS, ("no vocabulary", "output_mode='multi_hot'", "layer.adapt(texts)")),
        (Hidden, {"a": TEXTS, "b": TEXTS}, ("no vocabulary", "which input", "layer.adapt(texts)")),
        (Own, ["!", "?"] * 12, ("x has no words", "text_vectorization")),
    ],
    ids=["narrow embedding", "counts", "hidden input", "no words"],
)
def test_what_cannot_be_adapted_is_refused_before_training(
    kind: type[Classifier], x: Any, parts: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as caught:
        small(kind).fit(x, LABELS)
    for part in parts:
        assert part in str(caught.value)
