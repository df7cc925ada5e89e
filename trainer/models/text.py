"""Networks for text: a weighted bag of words, a recurrent network, and a transformer.

Responsible for the architectures `text`, `text_rnn` and `transformer`, and for the encoding that
puts the vocabulary into the saved model. Beside text they take any other inputs: numbers, ids, and
the other columns of a DataFrame. Not for tokens and vocabularies (`data.text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainer.data import arrays, text
from trainer.data.arrays import Tree
from trainer.data.columns import LIMITS, has_text
from trainer.data.inputs import Inputs
from trainer.data.preparation import Rows, TextOf
from trainer.data.streams import Stream
from trainer.data.tables import Table
from trainer.data.targets import Classes, Targets
from trainer.data.text import PADDING, Vocabulary
from trainer.hyperparameters import Choice, Domain, Float, Int
from trainer.models.architecture import Architecture, Look, Values
from trainer.models.options import Kind, optional, whole, widths
from trainer.models.spec import ModelSpec
from trainer.models.stacks import initializer, joined, model_of
from trainer.utils import forms
from trainer.utils.checks import boolean, fraction, integer, warn

if TYPE_CHECKING:
    import keras

SEQUENCE = 256  # the most tokens of a text that text_rnn and transformer read by default
FEW_ROWS = 3_200  # below, batches are smaller: an epoch should have more than a few steps
EPOCHS_OF_STREAM = 3  # nothing can be held out of a stream, so that no epoch can be the best


# ---- what is learned -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Texts:
    """The encoding of x with text in it: text becomes ids, everything else is as by default.

    The network receives `text_0`, `text_1`, ..., int32 [n, width], and the other inputs as
    `other_0`, ...; of a DataFrame the other columns as one matrix `other_0`.

    Attributes:
        names: The names of the inputs that are text: `x`, `x['title']`, or columns of a DataFrame.
        vocabularies: The vocabulary of each.
        given: What was learned of x, if x is not a DataFrame.
        frequencies: The inverse document frequency of each id, float32 [size], for each text; only
            in the fit that learned them.
        ratios: Naive Bayes' weights float32 [size, n_classes] for each text, by the name of the
            output; empty for outputs that are not classes.
        priors: The logarithms of the shares of the classes, by the name of the output.
    """

    reads_text: ClassVar[bool] = True

    names: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...]
    given: Inputs | None = None
    frequencies: tuple[np.ndarray, ...] = field(default=(), repr=False)
    ratios: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict, repr=False)
    priors: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def raw(self, x: Any, owner: str, name: str) -> Tree:
        """Check x; see Encoding."""
        if self.given is None:
            raise AttributeError("a DataFrame is converted by its Table")
        return self.given.prepare(x, owner, name)

    def encoder(self, table: Table | None) -> keras.Model:
        """Build the Keras model from raw inputs to ids and matrices; see Encoding."""
        import keras

        outputs: dict[str, Any] = {}
        if table is not None:
            inputs: Any = {}
            if table.features():
                rest = table.encoder("float32")
                inputs |= rest.input
                outputs["other_0"] = rest.output
            columns = [c for c in table.columns if c["kind"] == "text"]
            for i, (column, known) in enumerate(zip(columns, self.vocabularies, strict=True)):
                key = column["input"]
                inputs[key] = keras.Input((1,), dtype="string", name=key)
                outputs[f"text_{i}"] = known.ids(inputs[key], f"text_{i}")
            return keras.Model(dict(sorted(inputs.items())), _alone(outputs), name="texts")
        if self.given is None:
            raise AttributeError("there is neither a table nor anything else")
        symbolic, normalized = self.given.symbolic("float32")
        of_text = dict(zip(self.names, self.vocabularies, strict=True))
        places = {name: f"text_{i}" for i, name in enumerate(self.names)}
        for name, tensor in arrays.leaves(normalized):
            if name in of_text:
                outputs[places[name]] = of_text[name].ids(tensor, places[name])
            else:
                outputs[f"other_{len(outputs) - sum(k[0] == 't' for k in outputs)}"] = tensor
        return keras.Model(symbolic, _alone(outputs), name="texts")

    def training_rows(self, encoded: Tree) -> Tree:
        """Return the rows unchanged; see Encoding."""
        return encoded

    def describe(self) -> str:
        """Return what summary() says of it."""
        named = zip(self.names, self.vocabularies, strict=True)
        return "; ".join(f"{name} is {known.describe()}" for name, known in named)

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        return {
            "names": list(self.names),
            "vocabularies": [known.to_dict() for known in self.vocabularies],
            "given": None if self.given is None else self.given.to_dict(),
        }

    @classmethod
    def from_dict(cls, form: Any) -> Texts:
        """Restore from `to_dict`.

        Raises:
            forms.Malformed: The form is invalid; the message names the entry.
        """
        entry = "architecture: learned"
        forms.mapping(entry, form, ("names", "vocabularies", "given"))
        names = forms.items(f"{entry}: names", form["names"])
        for name in names:
            forms.text(f"{entry}: names", name)
        found = forms.items(f"{entry}: vocabularies", form["vocabularies"], len(names))
        if not found and form["given"] is not None:
            raise forms.wrong(f"{entry}: vocabularies", found, "at least one")
        known = tuple(
            Vocabulary.from_dict(f"{entry}: vocabularies[{i}]", v) for i, v in enumerate(found)
        )
        given = None
        if form["given"] is not None:
            given = Inputs.from_dict(form["given"])
            texts = [n for n, dtype in arrays.leaves(given.dtypes) if dtype == "object"]
            if texts != names:
                raise forms.wrong(f"{entry}: names", names, f"the inputs of text, {texts!r}")
        return cls(tuple(names), known, given)


def _alone(outputs: dict[str, Any]) -> Any:
    outputs = dict(sorted(outputs.items()))
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


class _OfText(Architecture):
    """What the architectures for text share.

    Attributes:
        grams: Whether it reads pairs of tokens.
        longest: The most tokens that it reads of a text by default; None for `text.LONGEST`.
    """

    reads_text = True
    grams = False
    longest: int | None = SEQUENCE

    def learn(
        self, data: Rows | Stream, inputs: Inputs, targets: Targets, *, options: Any, seed: int
    ) -> Texts:
        """Learn the vocabularies of the training rows; see Architecture.

        Raises:
            ValueError: x has no text, or no words.
        """
        set_by = {**self.options, **options}
        length, size = set_by["length"], set_by["vocabulary"]
        _check_options(vocabulary=size, length=length, pairs=set_by.get("pairs"))
        columns: dict[str, Any] = {}
        if inputs.table is not None:
            found = inputs.table.texts(data.x) if isinstance(data, Rows) else {}
            names = {c["input"]: c["name"] for c in inputs.table.columns}
            columns = {f"x[{names[key]!r}]": values[:, 0] for key, values in found.items()}
        else:
            columns = {n: None for n, kind in arrays.leaves(inputs.dtypes) if kind == "object"}
        if not columns and inputs.table is None:
            raise ValueError(
                f"model={self.name!r}: x has no text; pass a list or an array of str, "
                "trainer.datasets.load(..., as_text=True), or leave model out"
            )
        if not columns:  # perhaps there was some before rows were held out
            warn(
                f"model={self.name!r}: no column of x is text: mostly distinct str of "
                f"{LIMITS.words:g} words or {LIMITS.characters:g} characters of Chinese or "
                f"Japanese on average, in {LIMITS.rows} rows or more; it reads the other columns",
            )
        known = [
            Vocabulary.learn(
                TextOf(data, name) if column is None else [column],
                name,
                grams=self.grams and set_by.get("pairs", True),
                longest=self.longest if length is None else length,
                max_tokens=size,
                max_grams=size,
            )
            for name, column in columns.items()
        ]
        given = inputs if inputs.table is None else None
        return Texts(tuple(columns), tuple(known), given)

    def restore(self, form: Mapping[str, Any]) -> Texts:
        """Restore what was learned; see Architecture."""
        return Texts.from_dict(form)

    def describe(self, chosen: Any) -> str:
        """Return how text is cut; see Architecture."""
        return "" if chosen.learned is None else str(chosen.learned.describe())


class _Bag(_OfText):
    grams = True
    longest = None

    def suits(self, look: Look) -> bool:
        """Return whether there is text in x; see Architecture."""
        if look.is_frame:
            return has_text(look.x)
        return "O" in look.kinds.values()

    def values(self, look: Look) -> Values:
        """Return its own values; see Architecture."""
        return _values(look, 1e-3 if look.task == "classification" else 3e-3)

    def domains(self) -> dict[str, Domain]:
        """Return what a search varies; see Architecture."""
        return {
            "model__embedding": Choice(0, 16, 32, 64),
            "model__pairs": Choice(False, True),
            "learning_rate": Float(3e-4, 1e-2, log=True),
        }

    def learn(
        self, data: Rows | Stream, inputs: Inputs, targets: Targets, *, options: Any, seed: int
    ) -> Texts:
        """Learn the vocabularies, and where to start from; see Architecture."""
        found = super().learn(data, inputs, targets, options=options, seed=seed)
        return _with_statistics(found, data, inputs.encoded_by(found), targets)


class _Recurrent(_OfText):
    def values(self, look: Look) -> Values:
        """Return its own values; see Architecture."""
        return _values(look, 2e-3)

    def domains(self) -> dict[str, Domain]:
        """Return what a search varies; see Architecture."""
        return {
            "model__units": Int(16, 128, log=True),
            "model__dropout": Float(0.0, 0.6),
            "learning_rate": Float(3e-4, 1e-2, log=True),
        }


class _Transformer(_OfText):
    def values(self, look: Look) -> Values:
        """Return its own values; see Architecture."""
        return _values(look, 1e-3)

    def domains(self) -> dict[str, Domain]:
        """Return what a search varies; see Architecture."""
        return {
            "model__blocks": Int(1, 3),
            "model__units": Choice(32, 64, 128),
            "model__dropout": Float(0.0, 0.4),
            "learning_rate": Float(1e-4, 5e-3, log=True),
        }


def _values(look: Look, rate: float) -> Values:
    def adam() -> keras.optimizers.Optimizer:
        import keras

        return keras.optimizers.Adam(rate)

    stream = look.x is not None and look.rows is None
    few = look.rows is not None and look.rows < FEW_ROWS
    return Values(
        epochs=EPOCHS_OF_STREAM if stream else 20,
        batch_size=16 if few else 64,
        validation_split=0.0 if stream else 0.1,
        optimizer=adam,
        early_stopping={"patience": 3},
    )


def _with_statistics(found: Texts, data: Rows | Stream, inputs: Inputs, targets: Targets) -> Texts:
    """Add inverse document frequencies and naive Bayes' weights of the training rows."""
    sizes = [known.size for known in found.vocabularies]
    counts = [np.zeros(size) for size in sizes]
    by_class: dict[str, list[Any]] = {}
    rows = 0
    totals: dict[str, Any] = {}
    for x, y in _encoded_pairs(data, inputs, targets):
        if not sizes:
            return found
        parts = {"text_0": x} if hasattr(x, "shape") else x
        ids = [parts[f"text_{i}"] for i in range(len(sizes))]
        rows += len(ids[0])
        everything = np.ones((len(ids[0]), 1))
        for i, size in enumerate(sizes):
            counts[i] += text.occurrences(ids[i], everything, size)[:, 0]
        for name, shares in y.items():
            totals[name] = totals.get(name, 0.0) + shares.sum(axis=0)
            new = [text.occurrences(ids[i], shares, size) for i, size in enumerate(sizes)]
            old = by_class.get(name)
            by_class[name] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]
    labels = dict(arrays.leaves(targets.labels, "")) if isinstance(targets, Classes) else {}
    ratios, priors = {}, {}
    for name, parts in by_class.items():
        of_class = totals[name]
        if labels[name].kind == "multilabel":
            ratios[name] = tuple(map(_of_labels, parts, counts))
            priors[name] = np.log((of_class + 1) / (rows - of_class + 1))
        else:
            ratios[name] = tuple(map(text.log_count_ratios, parts))
            priors[name] = np.log((of_class + 1) / (rows + len(of_class)))
    frequencies = tuple(text.inverse_frequencies(c, rows) for c in counts)
    return replace(found, frequencies=frequencies, ratios=ratios, priors=priors)


def _of_labels(with_label: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the weights of each label against its absence, the logit of a sigmoid."""
    found = [text.log_count_ratios(np.stack([total - one, one], axis=-1)) for one in with_label.T]
    return np.stack([pair[:, 1] - pair[:, 0] for pair in found], axis=-1)


def _encoded_pairs(
    data: Rows | Stream, inputs: Inputs, targets: Targets
) -> Iterator[tuple[Tree, dict[str, np.ndarray]]]:
    """Yield encoded x, and the classes of each output as 0/1 matrices by the output's name."""
    if isinstance(data, Stream):
        for x, y in inputs.encode_stream(data).part(0, 1):
            yield x, {} if y is None else _classes(arrays.concatenate([y]), targets)
    else:
        x = inputs.prepare(data.x, "the estimator")
        yield x, {} if data.y is None else _classes(data.y, targets)


def _classes(y: Any, targets: Targets) -> dict[str, np.ndarray]:
    if not isinstance(targets, Classes):
        return {}
    found = {}
    widths = dict(arrays.leaves(targets.n_outputs, ""))
    for name, encoded in arrays.leaves(targets.encode(y, "y"), ""):
        found[name] = np.eye(widths[name])[encoded] if encoded.ndim == 1 else encoded
    return found


# ---- the networks --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """The inputs of a network.

    Attributes:
        inputs: The argument of keras.Model.
        learned: What was learned of the text.
        texts: The ids and the vocabulary of each text.
        others: The features of all other inputs, [n, ...], or None.
    """

    inputs: Tree
    learned: Texts
    texts: list[tuple[Any, Vocabulary]]
    others: list[Any]


def _parts(spec: ModelSpec, name: str) -> _Parts:
    from keras import layers

    learned = None if spec.chosen is None else spec.chosen.learned
    if not isinstance(learned, Texts):
        raise ValueError(
            f"model={name!r}: needs text with a vocabulary, which fit learns; pass x of str"
        )
    shapes = spec.input_shape
    if arrays.is_shape(shapes) and not learned.names:
        other = layers.Input(shapes, name="other_0")
        return _Parts(other, learned, [], [other])
    if arrays.is_shape(shapes):
        ids = layers.Input(shapes, dtype="int32", name="text_0")
        return _Parts(ids, learned, [(ids, learned.vocabularies[0])], [])
    given = {
        key: layers.Input(shape, dtype="int32" if key.startswith("text_") else None, name=key)
        for key, shape in shapes.items()
    }
    texts = [(given[f"text_{i}"], known) for i, known in enumerate(learned.vocabularies)]
    return _Parts(given, learned, texts, [given[key] for key in given if key.startswith("other_")])


def _other_features(parts: _Parts, hidden: Sequence[int]) -> list[Any]:
    """Return the features of the inputs that are not text: of dense layers, as in `mlp`."""
    from keras import layers

    if not parts.others:
        return []
    x = joined(parts.others)
    for units in hidden:
        x = layers.Dense(units, "relu", kernel_initializer=initializer("relu"))(x)
    return [x]


def bag(
    spec: ModelSpec,
    *,
    embedding: int = 32,
    pairs: bool = True,
    vocabulary: int = text.MAX_TOKENS,
    length: int | None = None,
    hidden: Sequence[int] = (256, 128),
) -> keras.Model:
    """Build a bag of words and pairs: a linear classifier, and a small embedding beside it.

    Each id weighs its inverse document frequency, scaled to a length of 1 per text. The linear
    weights start at naive Bayes' (Wang and Manning 2012: Baselines and Bigrams) and are trained.

    Args:
        spec: One input of text or several, and any others.
        embedding: The width of the embedding; 0 for the linear part alone.
        pairs: Whether to read pairs of words, and pairs and triples of characters, too.
        vocabulary: The most words, or characters; and as many pairs.
        length: The most words or characters that are read of a text; None for `data.text.LONGEST`.
        hidden: The units of the layers on the inputs that are not text.
    """
    import keras
    from keras import layers, ops

    _check_options(pairs=pairs, vocabulary=vocabulary, length=length)
    integer("embedding", embedding, low=0, example=32)
    parts = _parts(spec, "text")
    learned = parts.learned
    dtype = _full_precision()
    features = _other_features(parts, hidden)
    weighted = []
    for i, (ids, known) in enumerate(parts.texts):
        start = learned.frequencies[i][:, None] if learned.frequencies else None
        frequency = _table(known.size, 1, f"frequency_{i}", start, dtype)
        frequency.trainable = False
        weight = ops.transpose(frequency(ids), (0, 2, 1))  # [n, 1, width]
        norm = ops.sqrt(ops.sum(ops.square(weight), axis=-1, keepdims=True))
        weight = weight / ops.maximum(norm, 1e-6)
        weighted.append((ids, known, weight))
        if embedding:
            table = layers.Embedding(known.size, embedding, dtype=dtype, name=f"embedding_{i}")
            features.append(ops.matmul(weight, table(ids))[:, 0])
    kernel = "glorot_uniform"
    if not features:  # a layer needs an input to have a bias
        features.append(ops.sum(weighted[0][2], axis=-1))
        kernel = "zeros"
    joint = features[0] if len(features) == 1 else layers.Concatenate()(features)

    def head(width: int, part: str, name: str) -> Any:
        start = learned.priors.get(part)
        dense = layers.Dense(width, kernel_initializer=kernel, dtype=dtype, name=f"{name}_dense")
        logits = [dense(joint)]
        if start is not None:
            dense.bias.assign(start)
        for i, (ids, known, weight) in enumerate(weighted):
            ratios = learned.ratios.get(part)
            table = _table(
                known.size, width, f"{name}_words_{i}", None if ratios is None else ratios[i], dtype
            )
            logits.append(ops.matmul(weight, table(ids))[:, 0])
        return layers.Activation(spec.output_activation, dtype=dtype, name=name)(
            layers.Add(dtype=dtype)(logits)
        )

    if isinstance(spec.n_outputs, dict):
        outputs: Tree = {k: head(w, f"[{k!r}]", k) for k, w in spec.n_outputs.items()}
    elif isinstance(spec.n_outputs, tuple):
        outputs = tuple(head(w, f"[{i}]", f"output_{i}") for i, w in enumerate(spec.n_outputs))
    else:
        outputs = head(spec.n_outputs, "", "output")
    return keras.Model(parts.inputs, outputs)


def recurrent(
    spec: ModelSpec,
    *,
    embedding: int = 64,
    units: int = 64,
    dropout: float = 0.3,
    vocabulary: int = text.MAX_TOKENS,
    length: int | None = None,
    hidden: Sequence[int] = (256, 128),
) -> keras.Model:
    """Build a bidirectional GRU over the words or characters of each text.

    Args:
        spec: One input of text or several, and any others.
        embedding: The width of the embedding.
        units: The units of the GRU, in each direction.
        dropout: The rate after the embedding and after the GRU.
        vocabulary: The most words, or characters.
        length: The most words or characters that are read of a text; None for SEQUENCE.
        hidden: The units of the layers on the inputs that are not text.
    """
    from keras import layers

    _check_options(vocabulary=vocabulary, length=length)
    parts = _parts(spec, "text_rnn")
    features = _other_features(parts, hidden)
    for i, (ids, known) in enumerate(parts.texts):
        x = layers.Embedding(known.size, embedding, mask_zero=True, name=f"embedding_{i}")(ids)
        x = layers.Dropout(dropout)(x)
        x = layers.Bidirectional(layers.GRU(units), name=f"gru_{i}")(x)
        features.append(layers.Dropout(dropout)(x))
    joint = features[0] if len(features) == 1 else layers.Concatenate()(features)
    return model_of(parts.inputs, joint, spec)


def transformer(
    spec: ModelSpec,
    *,
    units: int = 64,
    heads: int = 4,
    blocks: int = 1,
    dropout: float = 0.2,
    vocabulary: int = text.MAX_TOKENS,
    length: int | None = None,
    hidden: Sequence[int] = (256, 128),
) -> keras.Model:
    """Build a transformer encoder over the words or characters of each text.

    Learned positions, normalisation before each part of a block, padding masked in attention and
    in the mean over the tokens (Vaswani et al. 2017; Xiong et al. 2020).

    Args:
        spec: One input of text or several, and any others.
        units: The width; a multiple of heads.
        heads: The heads of attention.
        blocks: The number of blocks.
        dropout: The rate after the embedding, in each block, and before the output.
        vocabulary: The most words, or characters.
        length: The most words or characters that are read of a text; None for SEQUENCE.
        hidden: The units of the layers on the inputs that are not text.

    Raises:
        ValueError: units is not a multiple of heads.
    """
    from keras import layers, ops

    _check_options(vocabulary=vocabulary, length=length)
    for name, value in (("units", units), ("heads", heads), ("blocks", blocks)):
        integer(name, value, low=1, example=4)
    if units % heads:
        raise ValueError(f"units={units}: must be a multiple of heads={heads}; write {heads * 16}")
    parts = _parts(spec, "transformer")
    features = _other_features(parts, hidden)
    for i, (ids, known) in enumerate(parts.texts):
        real = ops.not_equal(ids, PADDING)
        places = layers.Embedding(ids.shape[1], units, name=f"positions_{i}")
        x = layers.Embedding(known.size, units, name=f"embedding_{i}")(ids)
        x = layers.Dropout(dropout)(x + places(ops.arange(ids.shape[1])[None]))
        for _ in range(blocks):
            y = layers.LayerNormalization()(x)
            attention = layers.MultiHeadAttention(heads, units // heads, dropout=dropout)
            x = x + attention(y, y, attention_mask=real[:, None, :])
            y = layers.Dense(2 * units, "relu")(layers.LayerNormalization()(x))
            x = x + layers.Dropout(dropout)(layers.Dense(units)(y))
        x = layers.LayerNormalization()(x)
        # GlobalAveragePooling1D would divide by 0 for an empty text
        shares = ops.cast(real, x.dtype)
        shares = shares / ops.maximum(ops.sum(shares, axis=1, keepdims=True), 1.0)
        x = ops.matmul(shares[:, None, :], x)[:, 0]
        features.append(layers.Dropout(dropout)(x))
    joint = features[0] if len(features) == 1 else layers.Concatenate()(features)
    return model_of(parts.inputs, joint, spec)


def _check_options(*, vocabulary: int, length: int | None, pairs: bool | None = None) -> None:
    """Check the options of what is learned from text.

    Raises:
        TypeError, ValueError: Naming the option, its value and what to write instead.
    """
    integer("vocabulary", vocabulary, low=1, example=20_000)
    if length is not None:
        integer("length", length, low=1, example=200)
    if pairs is not None:
        boolean("pairs", pairs)


def _full_precision() -> str:
    # float16 overflows in the sum of squares, and is too small for a softmax
    import keras

    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def _table(
    size: int, width: int, name: str, start: np.ndarray | None, dtype: str
) -> keras.layers.Embedding:
    """Return an embedding that starts at these weights [size, width], or at 0."""
    from keras import layers

    made = layers.Embedding(size, width, embeddings_initializer="zeros", dtype=dtype, name=name)
    made.build()
    if start is not None:
        made.embeddings.assign(start)
    return made


_OF_ALL: dict[str, Kind] = {
    "vocabulary": whole(1, 20_000),
    "length": optional(whole(1, 200)),
    "hidden": widths,
}
TEXT = _Bag("text", bag, {**_OF_ALL, "embedding": whole(0, 32), "pairs": boolean})
TEXT_RNN = _Recurrent(
    "text_rnn",
    recurrent,
    {
        **_OF_ALL,
        "embedding": whole(1, 64),
        "units": whole(1, 64),
        "dropout": fraction,
    },
)
TRANSFORMER = _Transformer(
    "transformer",
    transformer,
    {
        **_OF_ALL,
        "units": whole(1, 64),
        "heads": whole(1, 4),
        "blocks": whole(1, 1),
        "dropout": fraction,
    },
)

__all__ = ["TEXT", "TEXT_RNN", "TRANSFORMER", "Texts", "bag", "recurrent", "transformer"]
