"""The public text sets that come as word indices: IMDB reviews and Reuters newswires.

Each row is the last 200 words of a text as int32 indices into the 10,000 most common words:
0 pads a short text at the front, 1 starts a text, 2 stands for a rarer word, and word i of the
word index becomes i + 3. This encoding and the order of the rows are the defaults of
`keras.datasets`, followed by `keras.utils.pad_sequences` with maxlen=200.
"""

from __future__ import annotations

from collections.abc import Callable

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
N_WORDS = 10_000
LENGTH = 200
START, RARE_WORD = 1, 2
OFFSET = 3  # from a word's rank in the file to its index here
DESCRIPTION = (
    f"each text is its last {LENGTH} words as int32 indices into the {N_WORDS:,} most common "
    f"words (0 pads at the front, {START} starts a text, {RARE_WORD} is a rarer word)."
)


def imdb(seed: int) -> Dataset:
    """Load IMDB, in the train/test split of the published file."""
    (path,) = fetch("imdb", [IMDB_FILE])
    with reading(path, "the .npz file of IMDB", cached=True):
        x_train, y_train, x_test, y_test = read_npz(
            path, ["x_train", "y_train", "x_test", "y_test"]
        )
        rng = np.random.RandomState(KERAS_SEED)
        train = _in_keras_order(x_train, y_train, rng)
        test = _in_keras_order(x_test, y_test, rng)
    return as_dataset(
        split_off_validation(train, test, "classification", seed),
        name="imdb",
        task="classification",
        class_names=labels.IMDB,
        description=f"Film reviews and whether they are positive; {DESCRIPTION}",
        source="A. L. Maas et al. (2011): Learning Word Vectors for Sentiment Analysis",
    )


def reuters(seed: int) -> Dataset:
    """Load Reuters, in the train/test split of keras.datasets."""
    (path,) = fetch("reuters", [REUTERS_FILE])
    with reading(path, "the .npz file of Reuters", cached=True):
        x, y = read_npz(path, ["x", "y"])
        x, y = _in_keras_order(x, y, np.random.RandomState(KERAS_SEED))
    return as_dataset(
        split_off_validation(*keras_train_and_test(x, y), "classification", seed),
        name="reuters",
        task="classification",
        class_names=labels.REUTERS,
        description=f"Newswires and their topics, one of 46 each; {DESCRIPTION}",
        source="D. D. Lewis: Reuters-21578 Text Categorization Collection",
    )


def _in_keras_order(texts: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> Split:
    check_rows(texts, y, x_name="x", y_name="y")
    order = rng.permutation(len(texts))
    return Split(_pad(texts[order]), y[order])


def _pad(texts: np.ndarray) -> np.ndarray:
    x = np.zeros((len(texts), LENGTH), dtype=np.int32)
    for row, text in zip(x, texts, strict=True):
        ranks = np.asarray(text, dtype=np.int64)
        words = np.concatenate([[START], ranks + OFFSET])[-LENGTH:]
        words[words >= N_WORDS] = RARE_WORD
        row[LENGTH - len(words) :] = words
    return x


LOADERS: dict[str, Callable[[int], Dataset]] = {"imdb": imdb, "reuters": reuters}


def published() -> dict[str, list[PublishedFile]]:
    """Return the files of each data set that is downloaded."""
    return {"imdb": [IMDB_FILE], "reuters": [REUTERS_FILE]}
