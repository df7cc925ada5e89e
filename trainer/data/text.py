"""Text: one form for it, its missing values, and its vocabulary.

Responsible for converting lists, arrays and columns of text to one form, and for a vocabulary that
is learned from the training rows and turns texts into numbers inside a Keras model. Not for the
networks that read these numbers (`models.text`), nor for the rule that says which column of a
DataFrame is text (`columns`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from trainer.utils import forms
from trainer.utils.checks import warn

# How a text is cut. Characters are the units where they are mostly of scripts without spaces, or
# where the pieces between spaces are longer than words are in any language.
SHARE_WITHOUT_SPACES = 0.3
LONGEST_WORDS = 12.0
# Texts in a script without spaces that somebody has already cut into words have short pieces, and
# several of them.
SEGMENTED_LENGTH = 4.0
SEGMENTED_WORDS = 3.0

MAX_TOKENS = 20_000  # words or characters: the most common are kept
MAX_GRAMS = 20_000  # pairs, and for characters triples, of neighbours
MIN_COUNT_OF_GRAMS = 2  # a pair that occurs once says nothing of other texts
LONGEST = {"words": 500, "characters": 1_000}  # tokens per text; the rest is cut off
LENGTH_QUANTILE = 0.99  # of the training texts, that are not cut
PADDING, UNSEEN = 0, 1  # the first two ids
_MOST = 1_000_000  # in a file

_PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"  # what TextVectorization strips
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


# ---- the border ----------------------------------------------------------------------------------


def is_text(value: Any) -> bool:
    """Return whether a value is one text for each row: a list, array or column with text in it.

    Arrays of more than one axis are not; in version 0.1 digits in them are numbers.
    """
    if isinstance(value, (list, tuple)):
        return any(isinstance(v, (str, bytes)) for v in value)
    if hasattr(value, "to_pylist"):  # an array of pyarrow
        return "string" in str(getattr(value, "type", ""))
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is None or shape is None or len(shape) != 1:
        return False
    if str(dtype) in ("<dtype: 'string'>", "category", "String", "Categorical"):
        return _has_text(value)
    kind = getattr(dtype, "kind", "O")
    if kind in "UST":
        return True
    return bool(kind == "O") and _has_text(value)


def _has_text(value: Any) -> bool:
    return any(isinstance(v, (str, bytes)) for v in _objects(value))


def _objects(value: Any) -> np.ndarray:
    """Return the values as an array of objects [n], without converting each to the longest."""
    if isinstance(value, (list, tuple)):
        found = np.empty(len(value), object)
        found[:] = value
        return found
    if hasattr(value, "to_pylist"):
        return _objects(value.to_pylist())
    if hasattr(value, "to_numpy"):  # of pandas or polars
        try:
            return np.asarray(value.to_numpy(dtype=object))
        except TypeError:
            return np.asarray(value.to_numpy(), object)
    if hasattr(value, "numpy"):  # TensorFlow's tensors hold bytes in UTF-8
        return np.array([v.decode() if isinstance(v, bytes) else v for v in value.numpy()], object)
    return np.asarray(value).astype(object)


def texts(value: Any, name: str, *, quiet: bool = False) -> np.ndarray:
    """Convert texts to an array of str, [n].

    A missing value (None, NaN, pandas' NA) counts as an empty text, with a warning that counts.

    Args:
        value: A list, array or column.
        name: The name of the argument, for errors.
        quiet: Whether not to warn of missing values.

    Raises:
        TypeError: There are bytes.
        ValueError: There are no rows, or values that are not text.
    """
    found = _objects(value)
    if found.ndim != 1:
        raise ValueError(
            f"{name} has shape {found.shape}: text must be one value for each row, shape (n,); "
            f"write {name}[:, 0], or pass a pandas DataFrame if it has several columns"
        )
    if len(found) == 0:
        raise ValueError(
            f"{name} is empty: found 0 sample(s) (shape=(0,)) while a minimum of 1 is required"
        )
    result = np.empty(len(found), object)
    missing = []
    for i, one in enumerate(found.tolist()):
        if isinstance(one, str):
            result[i] = str(one)
        elif _is_missing(one):
            missing.append(i)
            result[i] = ""
        else:
            raise _not_text(one, i, name, any(isinstance(v, str) for v in found))
    if missing and not quiet:
        warn(
            f"{name}: {len(missing)} of {len(found)} texts are missing, the first in row "
            f"{missing[0]}; they count as empty texts",
        )
    _check_unicode(result, name)
    return result


def _is_missing(value: Any) -> bool:
    nan = isinstance(value, (float, np.floating)) and np.isnan(value)
    return value is None or bool(nan) or type(value).__name__ in ("NAType", "NaTType")


def decoded(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of bytes in UTF-8, as TensorFlow holds text, as an array of str.

    Raises:
        ValueError: They are not UTF-8.
    """
    found = np.empty(array.shape, object)
    for i, one in np.ndenumerate(array):
        try:
            found[i] = one.decode() if isinstance(one, bytes) else one
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} has bytes that are not text in UTF-8 ({error}): {one[:40]!r}; write "
                "x.map(lambda x, y: (tf.strings.unicode_transcode(x, 'LATIN1', 'UTF-8'), y)), "
                "with the encoding that it has"
            ) from error
    return found


def _not_text(one: Any, row: int, name: str, mixed: bool) -> TypeError | ValueError:
    place = name.rsplit(": ", 1)[-1]
    if not mixed and not isinstance(one, bytes):
        return ValueError(
            f"{name} has {type(one).__name__} ({one!r:.40} in row {row}), where text is needed, as "
            "in training; pass a list or an array of str"
        )
    if isinstance(one, bytes):
        return TypeError(
            f"{name} has bytes, {one[:40]!r} in row {row}, where text is needed; write "
            f"[t.decode('utf-8') for t in {place}]"
        )
    return ValueError(
        f"{name} contains both text and {type(one).__name__} ({one!r:.40} in row {row}); correct "
        f"it, or write [str(v) for v in {place}] if each value is meant as text"
    )


def _check_unicode(found: np.ndarray, name: str) -> None:
    try:
        "\n".join(found.tolist()).encode()
    except UnicodeEncodeError:
        row = next(i for i, text in enumerate(found.tolist()) if not _encodes(text))
        raise ValueError(
            f"{name}: the text in row {row} has half a character (a lone surrogate), which UTF-8 "
            "does not have; write text.encode('utf-8', 'replace').decode()"
        ) from None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- the vocabulary ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """How texts become numbers, learned from the training rows.

    A text is made lower case (ASCII letters only, as Keras does it), loses ASCII punctuation, and
    is cut into words at spaces, or into characters. Its first `length` tokens are kept. Each has
    an id: 0 is padding, 1 a token that is not in the vocabulary.

    Attributes:
        unit: "words" or "characters".
        tokens: The tokens with the ids 2, 3, ..., the most common first.
        grams: Neighbouring tokens joined by spaces, alike; empty if only tokens are used.
        widths: How many neighbours a gram has, such as (2,) or (2, 3).
        length: The number of tokens that are kept of a text.
        rows: The number of training texts.
    """

    unit: str
    tokens: tuple[str, ...]
    grams: tuple[str, ...]
    widths: tuple[int, ...]
    length: int
    rows: int

    @classmethod
    def learn(
        cls,
        parts: Iterable[np.ndarray],
        name: str,
        *,
        grams: bool = True,
        longest: int | None = None,
        max_tokens: int = MAX_TOKENS,
        max_grams: int = MAX_GRAMS,
    ) -> Self:
        """Learn the vocabulary of the training texts.

        Args:
            parts: Arrays of str [n], such as the batches of a stream; iterated twice.
            name: The name of the input, for errors.
            grams: Whether to learn pairs (of characters also triples) of neighbours too.
            longest: The most tokens that are kept of a text; None for LONGEST.
            max_tokens: The size of the vocabulary.
            max_grams: The number of pairs, or pairs and triples.

        Raises:
            ValueError: No text has a word.
        """
        unit = unit_of(parts)
        lengths: list[int] = []
        counts: Counter[str] = Counter()
        for tokens in _cut(parts, unit):
            lengths.append(len(tokens))
            counts.update(tokens)
        if not any(token.strip() for token in counts):
            raise ValueError(
                f"{name} has no words: all {len(lengths)} texts are empty, or consist only of "
                "spaces and punctuation; is it the right column?"
            )
        most = LONGEST[unit] if longest is None else longest
        length = int(np.quantile(lengths, LENGTH_QUANTILE, method="higher"))
        length = max(1, min(length, most))
        widths = () if not grams or length < 2 else (2,) if unit == "words" else (2, 3)
        neighbours: Counter[str] = Counter()
        for tokens in _cut(parts, unit) if widths else ():
            kept = tokens[:length]
            for width in widths:
                shifted = (kept[i:] for i in range(width))
                neighbours.update(map(" ".join, zip(*shifted, strict=False)))
        return cls(
            unit,
            _most_common(counts, max_tokens, 1),
            _most_common(neighbours, max_grams, MIN_COUNT_OF_GRAMS),
            widths,
            length,
            len(lengths),
        )

    @property
    def size(self) -> int:
        """The number of ids, with those of padding and of unseen tokens."""
        return 2 + len(self.tokens) + len(self.grams)

    @property
    def width(self) -> int:
        """The number of ids of a text: its tokens, then its grams."""
        return sum(n for _, n in self._pieces())

    def _pieces(self) -> Iterator[tuple[tuple[int, ...] | None, int]]:
        yield None, self.length
        for width in self.widths if self.grams else ():
            if self.length >= width:
                yield (width,), self.length - width + 1

    def ids(self, text: Any, name: str) -> Any:
        """Turn a symbolic tensor of text, [n] or [n, 1], into ids int32 [n, width].

        The layers are those of Keras, so that plain Keras can load the model.

        Args:
            text: A KerasTensor of dtype string.
            name: A prefix of the layers' names.
        """
        from keras import layers, ops

        found = []
        for ngrams, length in self._pieces():
            known = self.tokens if ngrams is None else self.grams
            layer = layers.TextVectorization(
                split="whitespace" if self.unit == "words" else "character",
                ngrams=ngrams,
                output_sequence_length=length,
                vocabulary=list(known),
                name=f"{name}.{'tokens' if ngrams is None else f'grams_{ngrams[0]}'}",
            )
            ids = ops.cast(layer(text), "int32")
            if ngrams is not None:  # after the tokens
                ids = ops.where(ids > UNSEEN, ids + len(self.tokens), ids)
            found.append(ids)
        return found[0] if len(found) == 1 else ops.concatenate(found, axis=-1)

    def describe(self) -> str:
        """Return a line for summary()."""
        groups = "pairs" if self.unit == "words" else "pairs and triples"
        many = f" and {len(self.grams):,} {groups}" if self.grams else ""
        return (
            f"text, cut into {self.unit}: {len(self.tokens):,} {self.unit}{many}, learned from "
            f"{self.rows:,} texts; the first {self.length} {self.unit} of each are read"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        return {
            "unit": self.unit,
            "tokens": list(self.tokens),
            "grams": list(self.grams),
            "widths": list(self.widths),
            "length": self.length,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, entry: str, form: Any) -> Self:
        """Restore a Vocabulary from `to_dict`.

        Args:
            entry: Its place in the file, for errors.
            form: What to_dict returned.

        Raises:
            forms.Malformed: The form is invalid; the message names the entry.
        """
        keys = ("unit", "tokens", "grams", "widths", "length", "rows")
        forms.mapping(entry, form, keys)
        forms.no_others(entry, form, keys)
        unit = forms.text(f"{entry}: unit", form["unit"], tuple(LONGEST))
        known = {}
        for key in ("tokens", "grams"):
            found = forms.items(f"{entry}: {key}", form[key])
            for value in found:
                forms.text(f"{entry}: {key}", value)
            if len(set(found)) < len(found) or len(found) > _MOST or {"", "[UNK]"} & set(found):
                raise forms.wrong(f"{entry}: {key}", found, "unique, and not '' or '[UNK]'")
            known[key] = tuple(found)
        if not known["tokens"]:
            raise forms.wrong(f"{entry}: tokens", [], "at least one token")
        widths = forms.items(f"{entry}: widths", form["widths"])
        if widths not in ([], [2], [2, 3]):
            raise forms.wrong(f"{entry}: widths", widths, "[], [2] or [2, 3]")
        length = forms.whole(f"{entry}: length", form["length"], 1, _MOST)
        rows = forms.whole(f"{entry}: rows", form["rows"], 1)
        return cls(unit, known["tokens"], known["grams"], tuple(widths), length, rows)


def unit_of(parts: Iterable[np.ndarray]) -> str:
    """Return "characters" for texts in scripts without spaces between words, else "words".

    Args:
        parts: Arrays of str [n].
    """
    letters = without = pieces = rows = 0
    for part in parts:
        for text in part.tolist():
            found = text.split()
            rows += 1
            pieces += len(found)
            letters += sum(map(len, found))
            without += len(_WITHOUT_SPACES.findall(text))
    if not pieces:
        return "words"
    mean = letters / pieces
    if without < SHARE_WITHOUT_SPACES * letters:
        return "characters" if mean > LONGEST_WORDS else "words"
    segmented = mean < SEGMENTED_LENGTH and pieces >= SEGMENTED_WORDS * rows
    return "words" if segmented else "characters"


def cut(text: str, unit: str) -> list[str]:
    """Cut a text into tokens exactly as keras.layers.TextVectorization does."""
    # bytes, because TensorFlow's lower() and split() know only the letters and spaces of ASCII
    plain = text.encode().lower().translate(None, _PUNCTUATION)
    if unit == "characters":
        return list(plain.decode())
    return [word.decode() for word in plain.split()]


def _cut(parts: Iterable[np.ndarray], unit: str) -> Iterator[list[str]]:
    for part in parts:
        for text in part.tolist():
            yield cut(text, unit)


def _most_common(counts: Mapping[str, int], most: int, least: int) -> tuple[str, ...]:
    # By count, then by name, because the order of ties must not depend on the order of rows.
    ordered = sorted((-count, token) for token, count in counts.items() if count >= least)
    return tuple(token for _, token in ordered[:most])


def inverse_frequencies(counts: np.ndarray, rows: int) -> np.ndarray:
    """Return the smoothed inverse document frequency of each id, float32 [size].

    log((1 + n) / (1 + number of texts with it)) + 1, as in scikit-learn; 0 for padding and for
    tokens that are not in the vocabulary.

    Args:
        counts: In how many texts each id occurs, [size].
        rows: The number of texts, n.
    """
    found = np.log((1 + rows) / (1 + counts)) + 1
    found[: UNSEEN + 1] = 0.0
    return np.asarray(found, np.float32)


def occurrences(ids: np.ndarray, labels: np.ndarray, size: int) -> np.ndarray:
    """Return in how many texts of each class an id occurs, float64 [size, n_classes].

    Args:
        ids: Of the texts, [n, width].
        labels: How much each text is of each class, [n, n_classes]; 0 or 1.
        size: The number of ids.
    """
    from scipy.sparse import csr_matrix

    n, width = ids.shape
    starts = np.arange(n + 1) * width
    present = csr_matrix((np.ones(ids.size), ids.flatten(), starts), shape=(n, size))
    present.sum_duplicates()
    present.data[:] = 1.0
    return np.asarray(present.T @ labels)


def log_count_ratios(counts: np.ndarray) -> np.ndarray:
    """Return naive Bayes' weight of each id for each class, float32 [size, n_classes].

    Logarithms of the smoothed shares of a class' occurrences, less their mean over the classes
    (Wang and Manning 2012); 0 for padding and for tokens that are not in the vocabulary.

    Args:
        counts: As `occurrences` returns.
    """
    smoothed = counts + 1.0
    found = np.log(smoothed / smoothed.sum(axis=0))
    found -= found.mean(axis=1, keepdims=True)
    found[: UNSEEN + 1] = 0.0
    return np.asarray(found, np.float32)
