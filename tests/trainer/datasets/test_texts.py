"""texts: the word indices of each text, at the borders of their encoding, and its words."""

import json

import numpy as np
import pytest

from trainer import datasets
from trainer.datasets import texts

N = 10  # train and test rows each; enough to split


def ragged(rows):
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


@pytest.fixture
def imdb_of(published):
    """Loads IMDB from a file whose every text is the given ranks of words."""

    def load(ranks, **options):
        x, y = ragged([ranks] * N), np.arange(N) % 2
        np.savez(published.folder / "imdb.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        return texts.imdb(0, **options)

    load.folder = published.folder
    return load


def test_a_short_text_has_its_start_before_it_and_padding_before_that(imdb_of):
    row = imdb_of([1, 5]).test.x[0]
    assert row.shape == (200,) and row.dtype == np.int32
    assert row[-3:].tolist() == [1, 4, 8] and not row[:-3].any()


@pytest.mark.parametrize(("words", "first"), [(199, 1), (200, 4)])
def test_a_text_that_is_as_long_as_a_row_loses_its_start(words, first, imdb_of):
    row = imdb_of([1, *[2] * (words - 1)]).test.x[0]
    assert row[0] == first and (row[-198:] == 5).all()


def test_the_first_word_beyond_the_ten_thousand_is_a_rare_one(imdb_of):
    assert imdb_of([9_996, 9_997, 88_000]).test.x[0][-3:].tolist() == [9_999, 2, 2]


def test_as_text_long_texts_are_whole_and_an_empty_one_is_empty(imdb_of):
    (imdb_of.folder / "imdb_word_index.json").write_text(json.dumps({"the": 1, "film": 2}))
    long = imdb_of([1, 2] * 300, as_text=True)
    assert long.test.x[0] == " ".join(["the film"] * 300)
    assert "without punctuation" in long.description and "int32" not in long.description
    assert imdb_of([], as_text=True).train.x.tolist() == [""] * len(long.train.x)


@pytest.mark.parametrize("content", ["[1, 2]", '{"the": "first"}', '{"the": 1'])
def test_a_word_index_that_is_none_is_named(content, imdb_of):
    (imdb_of.folder / "imdb_word_index.json").write_text(content)
    with pytest.raises(datasets.DataFileError, match=r"imdb_word_index\.json"):
        imdb_of([1], as_text=True)


def test_the_words_and_topics_of_reuters_stay_together(published):
    topics = np.arange(50) % 46
    np.savez(published.folder / "reuters.npz", x=ragged([[int(t) + 1] for t in topics]), y=topics)
    found = texts.reuters(3)
    for x, y in (found.train, found.valid, found.test):
        np.testing.assert_array_equal(x[:, -1], y + 4)
    assert len(found.test.y) == 10 and len(found.class_names) == 46
