"""The public text sets that come as word indices: IMDB reviews and Reuters newswires.

Each row is the last 200 words of a text as int32 indices into the 10,000 most common words:
0 pads a short text at the front, 1 starts a text, 2 stands for a rarer word, and word i of the
word index becomes i + 3. This encoding and the order of the rows are the defaults of
`keras.datasets`, followed by `keras.utils.pad_sequences` with maxlen=200.

As text, each row is the whole text as str: all its words, in lower case and without punctuation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainer.datasets import labels
from trainer.datasets.cache import KERAS_FILES, PublishedFile, fetch, reading
from trainer.datasets.dataset import Dataset, Split
from trainer.datasets.pickled import read_npz
from trainer.datasets.splits import (
    KERAS_SEED,
    as_dataset,
    check_rows,
    keras_train_and_test,
    split_off_validation,
)

IMDB_FILE = PublishedFile(
    name="imdb.npz",
    origin=f"{KERAS_FILES}imdb.npz",
    file_hash="69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
)
REUTERS_FILE = PublishedFile(
    name="reuters.npz",
    origin=f"{KERAS_FILES}reuters.npz",
    file_hash="d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
)
# Keras publishes MD5 digests of these two.
IMDB_WORDS = PublishedFile(
    name="imdb_word_index.json",
    origin=f"{KERAS_FILES}imdb_word_index.json",
    file_hash="bfafd718b763782e994055a2d397834f",
)
REUTERS_WORDS = PublishedFile(
    name="reuters_word_index.json",
    origin=f"{KERAS_FILES}reuters_word_index.json",
    file_hash="4d44cc38712099c9e383dc6e5f11a921",
)
N_WORDS = 10_000
LENGTH = 200
START, RARE_WORD = 1, 2
OFFSET = 3  # from a word's rank in the file to its index here
DESCRIPTION = (
    f"each text is its last {LENGTH} words as int32 indices into the {N_WORDS:,} most common "
    f"words (0 pads at the front, {START} starts a text, {RARE_WORD} is a rarer word)."
)
AS_TEXT_DESCRIPTION = "each text is a str of all its words, in lower case, without punctuation."


def imdb(seed: int, *, as_text: bool = False) -> Dataset:
    """Load IMDB, in the train/test split of the published file, as word indices or as text."""
    path, *words = fetch("imdb", [IMDB_FILE, IMDB_WORDS] if as_text else [IMDB_FILE])
    convert = _to_text(words[0]) if words else _pad
    with reading(path, "the .npz file of IMDB", cached=True):
        x_train, y_train, x_test, y_test = read_npz(
            path, ["x_train", "y_train", "x_test", "y_test"]
        )
        rng = np.random.RandomState(KERAS_SEED)
        train = _in_keras_order(x_train, y_train, rng, convert)
        test = _in_keras_order(x_test, y_test, rng, convert)
    return as_dataset(
        split_off_validation(train, test, "classification", seed),
        name="imdb",
        task="classification",
        class_names=labels.IMDB,
        description=f"Film reviews and whether they are positive; {_description(as_text)}",
        source="A. L. Maas et al. (2011): Learning Word Vectors for Sentiment Analysis",
    )


def reuters(seed: int, *, as_text: bool = False) -> Dataset:
    """Load Reuters, in the train/test split of keras.datasets, as word indices or as text."""
    path, *words = fetch("reuters", [REUTERS_FILE, REUTERS_WORDS] if as_text else [REUTERS_FILE])
    convert = _to_text(words[0]) if words else _pad
    with reading(path, "the .npz file of Reuters", cached=True):
        x, y = read_npz(path, ["x", "y"])
        x, y = _in_keras_order(x, y, np.random.RandomState(KERAS_SEED), convert)
    return as_dataset(
        split_off_validation(*keras_train_and_test(x, y), "classification", seed),
        name="reuters",
        task="classification",
        class_names=labels.REUTERS,
        description=f"Newswires and their topics, one of 46 each; {_description(as_text)}",
        source="D. D. Lewis: Reuters-21578 Text Categorization Collection",
    )


def _description(as_text: bool) -> str:
    return AS_TEXT_DESCRIPTION if as_text else DESCRIPTION


def _in_keras_order(
    texts: np.ndarray,
    y: np.ndarray,
    rng: np.random.RandomState,
    convert: Callable[[np.ndarray], np.ndarray],
) -> Split:
    check_rows(texts, y, x_name="x", y_name="y")
    order = rng.permutation(len(texts))
    return Split(convert(texts[order]), y[order])


def _to_text(index: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that converts ranks of words to texts, by the published word index."""
    with reading(index, "a word index in JSON", cached=True):
        ranks = json.loads(index.read_bytes())
        if not isinstance(ranks, dict):
            raise ValueError("it has no object with the rank of each word")
        words = {int(rank): str(word) for word, rank in ranks.items()}

    def convert(texts: np.ndarray) -> np.ndarray:
        found = np.empty(len(texts), object)
        for i, text in enumerate(texts):
            missing = next((rank for rank in text if rank not in words), None)
            if missing is not None:
                raise ValueError(f"{index.name} has no word of rank {missing}")
            found[i] = " ".join(words[rank] for rank in text)
        return found

    return convert


def _pad(texts: np.ndarray) -> np.ndarray:
    x = np.zeros((len(texts), LENGTH), dtype=np.int32)
    for row, text in zip(x, texts, strict=True):
        ranks = np.asarray(text, dtype=np.int64)
        words = np.concatenate([[START], ranks + OFFSET])[-LENGTH:]
        words[words >= N_WORDS] = RARE_WORD
        row[LENGTH - len(words) :] = words
    return x


LOADERS: dict[str, Callable[..., Dataset]] = {"imdb": imdb, "reuters": reuters}


def published() -> dict[str, list[PublishedFile]]:
    """Return the files of each data set that is downloaded."""
    return {"imdb": [IMDB_FILE], "reuters": [REUTERS_FILE]}
