"""Text at the border, and the vocabulary: what counts as text, and how it becomes numbers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer.data import text
from trainer.data.text import Vocabulary
from trainer.utils.forms import Malformed

TEXTS = ["A good film", "a bad film, sadly", "GOOD!"]


@pytest.mark.parametrize(
    "value",
    [
        TEXTS,
        np.array(TEXTS),
        np.array(TEXTS, object),
        np.array(TEXTS, np.dtypes.StringDType()),
        pd.Series(TEXTS, index=[7, 8, 9]),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS).astype("category"),
        tf.constant(TEXTS),
    ],
    ids=["list", "U", "object", "StringDType", "Series", "string", "category", "tensor"],
)
def test_text_in_any_form_becomes_an_array_of_str(value: Any) -> None:
    assert text.is_text(value)
    found = text.texts(value, "x")
    assert found.dtype == object
    assert found.tolist() == TEXTS
    assert {type(one) for one in found} == {str}


@pytest.mark.parametrize(
    "value",
    [[1, 2], np.ones(3), [["a", "b"]], np.array([["a"], ["b"]]), pd.Series([1.0]), [None], "a"],
    ids=["numbers", "array", "rows of text", "column of text", "Series", "None", "one text"],
)
def test_what_is_not_one_text_for_each_row_is_not_text(value: Any) -> None:
    assert not text.is_text(value)


def test_missing_texts_count_as_empty_with_a_warning_that_counts() -> None:
    with pytest.warns(UserWarning, match="x: 3 of 4 texts are missing, the first in row 0"):
        found = text.texts([None, "a", float("nan"), pd.NA], "x")
    assert found.tolist() == ["", "a", "", ""]


@pytest.mark.parametrize(
    ("value", "kind", "parts"),
    [
        (["a", 3], ValueError, ("both text and int", "3 in row 1", "str(v)")),
        (["a", ["b"]], ValueError, ("both text and list", "in row 1")),
        ([b"a", "b"], TypeError, ("bytes, b'a' in row 0", "decode")),
        (np.array([b"a"]), TypeError, ("bytes", "decode")),
        (["a", "\ud800"], ValueError, ("row 1", "lone surrogate")),
        (np.arange(3), ValueError, ("int (0 in row 0)", "array of str")),
        ([], ValueError, ("x is empty",)),
    ],
    ids=["number", "list", "bytes", "S", "surrogate", "no text", "no rows"],
)
def test_values_that_are_not_text_are_refused(
    value: Any, kind: type[Exception], parts: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as caught:
        text.texts(value, "x")
    for part in parts:
        assert part in str(caught.value)


CHINESE = ["这部电影很好看", "剧情很差", "演员的表演非常精彩,我很喜欢", "难看"]


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        (TEXTS, "words"),
        (CHINESE, "characters"),
        (["很好看", "难看"], "characters"),
        (["この映画はとても面白い", "つまらない映画でした"], "characters"),
        (["หนังเรื่องนี้ดีมาก", "หนังแย่"], "characters"),
        (["这 部 电影 很 好看", "剧情 很 差 我 不 喜欢"], "words"),
        (["이 영화는 정말 재미있어요", "지루한 영화"], "words"),
        (["Фильм очень хороший", "скучно"], "words"),
        (["A good film 电影", "I like the film 好"], "words"),
        (["ACGTACGTACGTTTAGA", "GGGTTTACACACATTTAC"], "characters"),
        (["", "  "], "words"),
    ],
    ids=[
        "english",
        "chinese",
        "short",
        "japanese",
        "thai",
        "cut",
        "korean",
        "russian",
        "mixed",
        "dna",
        "empty",
    ],
)
def test_the_unit_is_chosen_from_the_texts(texts: list[str], unit: str) -> None:
    assert text.unit_of([np.array(texts, object)]) == unit


ODD = [
    "Tab\there,  two spaces",
    "İstanbul ÉTÉ",
    "a\u3000b c",
    "x_y-z 'q' \"r\"",
    "\n",
    "e\u0301 🙂!",
]


@pytest.mark.parametrize("split", ["whitespace", "character"])
def test_texts_are_cut_as_keras_cuts_them(split: str) -> None:
    layer = keras.layers.TextVectorization(split=split)
    layer.adapt(tf.constant(ODD)[:, None])
    unit = "words" if split == "whitespace" else "characters"
    ours = [text.cut(one, unit) for one in ODD]
    assert {token for tokens in ours for token in tokens} == set(
        layer.get_vocabulary(include_special_tokens=False)
    )
    known = {token: i for i, token in enumerate(layer.get_vocabulary())}
    for tokens, ids in zip(ours, layer(tf.constant(ODD)).numpy(), strict=True):
        assert [known[token] for token in tokens] == [i for i in ids if i]


def _encoder(known: Vocabulary) -> keras.Model:
    given = keras.Input((), dtype="string")
    return keras.Model(given, known.ids(given, "text"))


def test_tokens_come_first_then_pairs_of_the_tokens_that_are_kept() -> None:
    rows = np.array(["a b a b c", "a b a b"], object)
    known = Vocabulary.learn([rows], "x", longest=4)
    assert known.tokens == ("a", "b", "c")
    assert known.grams == ("a b", "b a")  # b c is cut off
    assert (known.length, known.width, known.size) == (4, 7, 7)
    ids = _encoder(known)(tf.constant(["b a zzz", ""])).numpy()
    # b, a, unseen, padding; b a, and a pair that was not seen
    assert ids.tolist() == [[3, 2, 1, 0, 6, 1, 0], [0] * 7]
    assert ids.dtype == np.int32


def test_the_vocabulary_does_not_depend_on_the_order_of_rows() -> None:
    rows = np.array(TEXTS, object)
    first, second = Vocabulary.learn([rows], "x"), Vocabulary.learn([rows[:1], rows[:0:-1]], "x")
    assert first == second


def test_a_vocabulary_survives_json_and_bad_json_is_refused() -> None:
    known = Vocabulary.learn([np.array(CHINESE * 2, object)], "x")
    assert known.widths == (2, 3)
    form = known.to_dict()
    assert Vocabulary.from_dict("v", form) == known
    for key, value in {
        "unit": "bytes",
        "tokens": ["a", "a"],
        "grams": [""],
        "widths": [7],
        "length": 0,
        "rows": None,
    }.items():
        with pytest.raises(Malformed, match=f"v: {key}"):
            Vocabulary.from_dict("v", {**form, key: value})


@pytest.mark.parametrize("texts", [["", " "], ["!!!", "..."]], ids=["empty", "punctuation"])
def test_texts_without_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="x has no words: all 2 texts are empty"):
        Vocabulary.learn([np.array(texts, object)], "x")


def test_naive_bayes_weights_and_frequencies_follow_their_definitions() -> None:
    ids = np.array([[2, 3, 2], [2, 4, 0], [3, 3, 1]])
    labels = np.eye(2)[[0, 0, 1]]
    counts = text.occurrences(ids, labels, 5)
    assert counts[2:].tolist() == [[2, 0], [1, 1], [1, 0]]
    weights = text.log_count_ratios(counts)
    shares = (counts + 1) / (counts + 1).sum(axis=0)
    expected = np.log(shares[2:, 0] / shares[2:, 1])
    np.testing.assert_allclose(weights[2:, 0] - weights[2:, 1], expected, rtol=1e-5)
    frequencies = text.inverse_frequencies(counts.sum(axis=1), 3)
    np.testing.assert_allclose(frequencies[2:], np.log(4 / (1 + np.array([2, 2, 1]))) + 1, 1e-5)
    assert not weights[:2].any()
    assert not frequencies[:2].any()
