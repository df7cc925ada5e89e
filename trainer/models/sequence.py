"""The architecture `sequence`: the default for x [n, steps, columns] that is not images.

A forecast is learnt as the difference from the last or the seasonal value, in units of the
window's own changes: subtracting a value of the window makes a network follow a level that it has
never seen (Zeng, Chen, Zhang and Xu 2023, NLinear), and dividing by the window's scale one series
among others of another size (Kim and others 2022). A linear map begins as the ridge regression of
the training rows, with the penalty by generalised cross-validation (Golub, Heath and Wahba 1979);
a small network beside it begins at zero and learns what is not linear.

Not for cutting a series into windows (`datasets.windows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.arrays import is_shape
from trainer.data.inputs import Inputs
from trainer.data.preparation import Rows
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Numbers, Targets
from trainer.hyperparameters import Choice, Domain, Float
from trainer.models import stacks
from trainer.models.architecture import Architecture, Chosen, Look, Values
from trainer.models.options import Kind, among, whole
from trainer.models.spec import ModelSpec, is_image
from trainer.utils import forms
from trainer.utils.checks import fraction, integer, one_of

if TYPE_CHECKING:
    import keras

NETWORKS = ("dense", "conv", "gru")
SEASON_ROWS = 2_048  # the last rows, by which the season is found
RIDGE_ROWS = 8_192  # the last rows, to which the linear map is fitted ...
RIDGE_SIZE = 2_048  # ... and the most rows or values of a window for which that is quick
MOST_VALUES = 65_536  # of a window, for a linear map of all of them
LONGEST_SEASON = 400
WORTH = 0.9  # a longer season must have at most this share of the error of a shorter one
PENALTIES = np.logspace(-2, 5, 29)
FLOOR = 0.1  # of the changes in all windows: the least scale of one window


@dataclass(frozen=True)
class Sequences:
    """What was learnt of the training rows.

    Attributes:
        places: For each output the value of the flattened window that it is a difference from;
            empty if the outputs are no continuation of x.
        seasons: For each target column how many steps before its own step that value lies.
        columns: For each target column the column of x that it continues.
        floor: For each column of x the least scale of a window, in normalised units.
        mean: For each column of x the mean of the scaled differences (or of x).
        variance: Their variance.
        gain: What each output is multiplied with at the end, to have the units of y.
        offset: What is then added to it.
        shape: The shape of one row of y, such as [12] or [12, 2].
        kernel: The initial linear map [values, outputs]; None after loading.
        bias: Its initial bias [outputs].
    """

    places: list[int]
    seasons: list[int]
    columns: list[int]
    floor: list[float]
    mean: list[float]
    variance: list[float]
    gain: list[float]
    offset: list[float]
    shape: list[int]
    kernel: np.ndarray | None = field(default=None, repr=False, compare=False)
    bias: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON, without the initial weights."""
        names = [name for name in self.__dataclass_fields__ if name not in ("kernel", "bias")]
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Sequences:
        """Restore from `to_dict`.

        Raises:
            forms.Malformed: The form is invalid.
        """
        names = [name for name in cls.__dataclass_fields__ if name not in ("kernel", "bias")]
        entry = "architecture: learned"
        forms.mapping(entry, form, names)
        forms.no_others(entry, form, names)
        whole = ("places", "seasons", "columns", "shape")
        found: dict[str, Any] = {}
        for name in names:
            where = f"{entry}: {name}"
            values = forms.items(where, form[name])
            if name in whole:
                most = len(forms.items(entry, form["floor"])) - 1 if name == "columns" else 2**31
                found[name] = [forms.whole(where, value, 0, most) for value in values]
            elif name in ("floor", "variance"):
                found[name] = [forms.number(where, value, above=0.0) for value in values]
            else:
                found[name] = [forms.number(where, value) for value in values]
        width = int(np.prod(found["shape"])) if found["shape"] else 0
        for name in ("gain", "offset"):
            forms.items(f"{entry}: {name}", form[name], width)
        if found["places"]:
            forms.items(f"{entry}: places", form["places"], width)
        for name in ("mean", "variance"):
            forms.items(f"{entry}: {name}", form[name], len(found["floor"]))
        return cls(**found)


def sequence(
    spec: ModelSpec,
    *,
    network: str | None = None,
    units: int = 64,
    dropout: float = 0.1,
) -> keras.Model:
    """Build the network for sequences.

    Args:
        spec: One input of shape (steps, columns), one output.
        network: What stands beside the linear map: "dense" (two dense layers on the whole
            window), "conv" (dilated causal convolutions with residual connections, after Bai,
            Kolter and Koltun 2018) or "gru". None: "dense" for forecasts, else "conv".
        units: The units of each layer.
        dropout: The dropout rate after each layer.

    Raises:
        ValueError: x are not sequences, or there are several inputs or outputs.
    """
    from keras import layers, ops

    shape = spec.input_shape
    several = isinstance(spec.n_outputs, (dict, tuple))
    if not is_shape(shape) or len(shape) != 2 or None in shape or shape[0] < 2 or several:
        raise ValueError(
            f"model='sequence': takes x of shape [n, steps, columns] with at least 2 steps and one "
            f"output, but x has rows of shape {shape} and y the widths {spec.n_outputs}; "
            "datasets.windows makes such x of a series, and model='mlp' takes all shapes"
        )
    one_of("network", network, (None, *NETWORKS))
    integer("units", units, low=1, example=64)
    fraction("dropout", dropout)
    learned = _learned(spec)
    _check_learned(learned, shape, spec.n_outputs)
    if network is None:
        network = "dense" if learned is not None and learned.places else "conv"
    steps, columns = shape
    inputs = layers.Input(shape)
    x, base, scale = inputs, None, None
    if learned is not None and learned.places:
        last = inputs[:, -1:, :]
        change = inputs[:, 1:, :] - inputs[:, :-1, :]
        floor = np.square(np.asarray(learned.floor)).tolist()
        size = ops.mean(ops.square(change), axis=1, keepdims=True)
        size = ops.sqrt(layers.Rescaling(1.0, floor, dtype=_wide(inputs))(size))
        x = (inputs - last) / size
        base = ops.take(ops.reshape(inputs, (-1, steps * columns)), learned.places, axis=1)
        of_output = [place % columns for place in learned.places]
        scale = ops.take(ops.reshape(size, (-1, columns)), of_output, axis=1)
    if learned is not None:
        x = layers.Normalization(mean=learned.mean, variance=learned.variance)(x)
    flat = ops.reshape(x, (-1, steps * columns))
    features = _features(x, flat, network, units, dropout)
    if learned is None or not learned.shape:
        return stacks.model_of(inputs, layers.Concatenate()([flat, features]), spec)
    width = len(learned.gain)
    linear = layers.Dense(width, dtype=_wide(inputs), name="linear")
    found = layers.Dense(width, kernel_initializer="zeros", dtype=_wide(inputs), name="network")(
        features
    )
    found = layers.Add(dtype=_wide(inputs))([linear(flat), found])
    if learned.kernel is not None:
        linear.set_weights([learned.kernel, learned.bias])
    if base is not None and scale is not None:
        found = base + scale * found
    name = "output" if len(learned.shape) < 2 else None
    found = layers.Rescaling(learned.gain, learned.offset, dtype=_wide(inputs), name=name)(found)
    if name is None:
        found = layers.Reshape(tuple(learned.shape), dtype=_wide(inputs), name="output")(found)
    return stacks.keras_model(inputs, found)


def _features(x: Any, flat: Any, network: str, units: int, dropout: float) -> Any:
    from keras import layers

    if network == "dense":
        found = flat
        for _ in range(2):
            found = layers.Dense(units, "gelu", kernel_initializer="he_normal")(found)
            found = layers.Dropout(dropout)(found)
        return found
    if network == "gru":
        return layers.Dropout(dropout)(layers.GRU(units)(x))
    found = layers.Conv1D(units, 1)(x)
    dilation = 1
    while True:
        own = layers.LayerNormalization()(found)
        own = layers.Conv1D(units, 3, padding="causal", dilation_rate=dilation, activation="gelu")(
            own
        )
        found = layers.Add()([found, layers.Dropout(dropout)(own)])
        dilation *= 2
        if dilation >= x.shape[1]:
            break
    pooled = [layers.GlobalAveragePooling1D()(found), layers.GlobalMaxPooling1D()(found)]
    return layers.Dropout(dropout)(layers.Concatenate()([found[:, -1], *pooled]))


def _wide(x: Any) -> str:
    """Return the dtype of differences and outputs: float32 also in mixed precision."""
    return "float64" if x.dtype == "float64" else "float32"


def _learned(spec: ModelSpec) -> Sequences | None:
    found = None if spec.chosen is None else spec.chosen.learned
    return found if isinstance(found, Sequences) else None


def _check_learned(learned: Sequences | None, shape: tuple[int, ...], width: int) -> None:
    """Refuse what a damaged file says was learnt of other data."""
    if learned is None:
        return
    fits = len(learned.floor) == shape[1] and (not learned.shape or learned.shape[-1] == width)
    if not fits or any(place >= shape[0] * shape[1] for place in learned.places):
        raise forms.Malformed(
            f"architecture: learned does not belong to rows of shape {shape} and {width} outputs"
        )


class SequenceArchitecture(Architecture):
    """The architecture for x [n, steps, columns]."""

    kinds: Mapping[str, Kind] = MappingProxyType(
        {
            "network": among(None, *NETWORKS),
            "units": whole(1, 64),
            "dropout": fraction,
        }
    )

    def __init__(self) -> None:
        super().__init__("sequence", sequence)

    def suits(self, look: Look) -> bool:
        """Return whether x is one array of sequences: see `is_sequence`."""
        return (
            not look.is_frame
            and hasattr(look.x, "shape")
            and look.one_output
            and look.task in ("classification", "regression")
            and is_shape(look.shapes)
            and is_sequence(look.shapes)
            and look.kinds.get("x") in ("f", "i")
        )

    def values(self, look: Look) -> Values:
        """Return its values: where rows overlap in time the last ones are held out."""

        def optimizer() -> keras.optimizers.Optimizer:
            import keras

            return keras.optimizers.AdamW(1e-3, weight_decay=0.01)

        rows = look.rows or 0
        return Values(
            epochs=100,
            batch_size=32 if rows < 8_192 else 128,
            validation_split=0.15 if rows >= 20 else 0.0,
            optimizer=optimizer,
            early_stopping={"patience": 10},
            last_rows=overlaps(look.x, look.y),
        )

    def domains(self) -> dict[str, Domain]:
        """Return the domains of the learning rate and of its options."""
        return {
            "learning_rate": Float(1e-4, 1e-2, log=True),
            "model__network": Choice(*NETWORKS),
            "model__units": Choice(16, 32, 64, 128),
            "model__dropout": Float(0.0, 0.5),
        }

    def learn(
        self, data: Rows | Stream, inputs: Inputs, targets: Targets, *, options: Any, seed: int
    ) -> Sequences | None:
        """Find what the targets continue, and fit the initial linear map."""
        if not is_shape(inputs.shapes) or len(inputs.shapes) != 2 or None in inputs.shapes:
            return None  # build says what is wrong
        x, y = _rows(data, targets)
        offset, scale = (np.asarray(part) for part in inputs.scaling.get("x", (0.0, 1.0)))
        z = (x - offset) / scale
        if not isinstance(targets, Numbers) or y is None or targets.task == "custom":
            return _of_inputs(z)
        columns = z.shape[2]
        offsets, scales = (np.broadcast_to(part, (columns,)) for part in (offset, scale))
        learned = _continued(z, y, offsets, scales) or _of_targets(z, y)
        if targets.scale is not None:
            mean, deviation = (np.asarray(part) for part in targets.scale)
            learned = replace(
                learned,
                gain=(np.asarray(learned.gain) / deviation).tolist(),
                offset=((np.asarray(learned.offset) - mean) / deviation).tolist(),
            )
        return learned

    def restore(self, form: Mapping[str, Any]) -> Sequences:
        """Restore what was learnt."""
        return Sequences.from_dict(form)

    def describe(self, chosen: Chosen) -> str:
        """Return what a forecast is the difference from."""
        learned = chosen.learned
        if not isinstance(learned, Sequences) or not learned.places:
            return ""
        said = dict.fromkeys(
            f"column {column}, "
            + ("its last value" if season == 1 else f"its value {season} steps before (the season)")
            for column, season in zip(learned.columns, learned.seasons, strict=True)
        )
        return "forecasts as the difference from " + "; ".join(said)


def is_sequence(shape: tuple[int | None, ...]) -> bool:
    """Return whether rows of this shape are taken for sequences [steps, columns].

    Square rows from 8 x 8 are images, and rows that are no longer than twice their width may be
    images (height, width): these are sequences only with up to 8 columns.
    """
    if len(shape) != 2 or is_image(shape):
        return False
    steps, columns = shape
    if not steps or not columns:
        return False
    return steps >= 2 and (columns <= 8 or steps >= 2 * columns)


def overlaps(x: Any, y: Any, rows: int = 256) -> bool:
    """Return whether targets of rows are values in other rows' x, as in windows of one series.

    Rows held out at random would then have their targets in the training rows.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 3 or len(x) < 4 or y is None:
        return False
    targets = np.asarray(y)
    if targets.dtype.kind not in "fiu" or len(targets) != len(x):
        return False
    few = slice(0, min(rows, len(x) // 2))
    first = targets[few].reshape(len(targets[few]), -1)[:, 0]
    return bool(np.isin(first, x[: 4 * rows]).mean() > 0.5)


# ---- what is learnt ------------------------------------------------------------------------------


def _rows(data: Rows | Stream, targets: Targets) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the last rows of x and y, at most RIDGE_ROWS, those with a weight and finite y."""
    if isinstance(data, Stream):
        xs: list[np.ndarray] = []
        ys: list[Any] = []
        n = 0
        for x, y in data.part(0, 1):
            xs, ys, n = [*xs, np.asarray(x)], [*ys, y], n + len(x)
            while n - len(xs[0]) >= RIDGE_ROWS:
                n -= len(xs.pop(0))
                ys.pop(0)
        x = np.concatenate(xs).astype(np.float64)
        if isinstance(targets, Classes) or ys[0] is None:
            return x, None
        y = np.concatenate([np.asarray(part) for part in ys]).astype(np.float64)
    else:
        first = max(0, data.n - RIDGE_ROWS)
        x = np.asarray(data.x[first:], np.float64)
        if isinstance(targets, Classes) or data.y is None:
            return x, None
        y = np.asarray(targets.encode(data.y, "y")[first:], np.float64)
        if data.row_weight is not None and (data.row_weight[first:] > 0).any():
            kept = data.row_weight[first:] > 0
            x, y = x[kept], y[kept]
    kept = np.isfinite(y).reshape(len(y), -1).all(axis=1)
    return (x[kept], y[kept]) if kept.any() else (x, np.zeros_like(y))


def _of_inputs(z: np.ndarray) -> Sequences:
    """Return the scale of the columns alone."""
    columns = z.shape[2]
    mean, variance = _moments(z)
    return Sequences([], [], [], [1.0] * columns, mean, variance, [], [], [])


def _of_targets(z: np.ndarray, y: np.ndarray) -> Sequences:
    """Return the linear map from x to y, which are no continuation of x."""
    shape = list(y.shape[1:]) or [1]
    y = y.reshape(len(y), -1)
    centre, spread = y.mean(axis=0), y.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    learned = replace(_of_inputs(z), gain=spread.tolist(), offset=centre.tolist(), shape=shape)
    return _with_ridge(learned, z, (y - centre) / spread)


def _continued(
    z: np.ndarray, y: np.ndarray, offset: np.ndarray, scale: np.ndarray
) -> Sequences | None:
    """Return what y is a continuation of; None if the median of y is as good a forecast.

    Args:
        z: The normalised x, [n, steps, columns].
        y: [n], [n, horizon] or [n, horizon, targets].
        offset: What was subtracted from each column of x.
        scale: What it was divided by.
    """
    shape = list(y.shape[1:]) or [1]
    y = y.reshape(len(y), shape[0], -1)
    steps, columns = z.shape[1:]
    leads = np.arange(y.shape[1])
    places = np.empty(y.shape[1:], np.int64)
    found_seasons, found_columns = [], []
    for k in range(y.shape[2]):
        recent, known = z[-SEASON_ROWS:], y[-SEASON_ROWS:, :, k]
        errors = np.empty((min(steps, LONGEST_SEASON), columns))
        for c in range(columns):
            own = (known - offset[c]) / scale[c]
            for s in range(1, len(errors) + 1):
                off = own - recent[:, steps - s + leads % s, c]
                # a trend, which the linear map follows, is not to look like another season
                errors[s - 1, c] = np.abs(off - off.mean(axis=0)).mean() * scale[c]
        column = int(errors.min(axis=0).argmin())
        # of a season and its multiples, and of the last value, the shortest that is as good
        season = int(np.flatnonzero(errors[:, column] <= errors[:, column].min() / WORTH)[0])
        middle = np.abs(known - np.median(known, axis=0)).mean()
        if not errors[season, column] < middle:
            return None
        s = season + 1
        places[:, k] = (steps - s + leads % s) * columns + column
        found_seasons.append(s)
        found_columns.append(column)
    flat = places.reshape(-1)
    of_output = flat % columns
    change = np.square(np.diff(z, axis=1))
    usual = np.sqrt(change.mean(axis=(0, 1)))
    floor = FLOOR * np.where(usual > 0, usual, 1.0)
    size = np.sqrt(change.mean(axis=1, keepdims=True) + floor**2)
    scaled = (z - z[:, -1:]) / size
    mean, variance = _moments(scaled)
    learned = Sequences(
        flat.tolist(),
        found_seasons,
        found_columns,
        floor.tolist(),
        mean,
        variance,
        scale[of_output].tolist(),
        offset[of_output].tolist(),
        shape,
    )
    own = (y.reshape(len(y), -1) - offset[of_output]) / scale[of_output]
    base = z.reshape(len(z), -1)[:, flat]
    return _with_ridge(learned, scaled, (own - base) / size[:, 0, of_output])


def _moments(z: np.ndarray) -> tuple[list[float], list[float]]:
    variance = z.var(axis=(0, 1))
    return z.mean(axis=(0, 1)).tolist(), np.where(variance > 0, variance, 1.0).tolist()


def _with_ridge(learned: Sequences, z: np.ndarray, y: np.ndarray) -> Sequences:
    """Add the initial linear map from z (not yet normalised) to y [n, outputs]."""
    values = z.shape[1] * z.shape[2]
    z = (z - np.asarray(learned.mean)) / np.sqrt(np.asarray(learned.variance))
    z = z.reshape(len(z), -1)
    if min(len(z), values) > RIDGE_SIZE:
        z, y = z[-RIDGE_SIZE:], y[-RIDGE_SIZE:]
    if values > MOST_VALUES or len(z) < 3:
        kernel, bias = np.zeros((values, y.shape[1])), y.mean(axis=0)
    else:
        kernel, bias = ridge(z, y, PENALTIES)
    return replace(learned, kernel=kernel.astype(np.float32), bias=bias.astype(np.float32))


def ridge(
    x: np.ndarray, y: np.ndarray, penalties: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression of standardised columns, with the penalty by generalised CV.

    Args:
        x: [n, d].
        y: [n, k].
        penalties: Those to choose from.

    Returns:
        The coefficients [d, k] of the columns as they are, and the intercept [k].
    """
    from threadpoolctl import threadpool_limits

    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)  # a constant column has no coefficient
    level = y.mean(axis=0)
    x, rest = (x - centre) / spread, y - level
    n = len(x)
    with threadpool_limits(1):  # the same bits with any number of threads
        if n > x.shape[1]:
            power, axes = np.linalg.eigh(x.T @ x)
            power = power.clip(min=1e-10)
            along = axes.T @ (x.T @ rest) / np.sqrt(power)[:, None]
        else:
            power, left = np.linalg.eigh(x @ x.T)
            power = power.clip(min=1e-10)
            along = left.T @ rest
            axes = x.T @ (left / np.sqrt(power))
        total = np.square(rest).sum()
        best, chosen = np.inf, penalties[-1]
        for penalty in penalties:
            kept = power / (power + penalty)
            # residual sum of squares, and the degrees of freedom that are left
            lost = total - ((1 - (1 - kept) ** 2)[:, None] * along**2).sum()
            free = max(n - 1 - kept.sum(), 1e-9)
            score = max(lost, 0.0) / free**2
            if score < best:
                best, chosen = score, penalty
        shrunk = (np.sqrt(power) / (power + chosen))[:, None] * along
        kernel = (axes @ shrunk) / spread[:, None]
    return kernel, level - centre @ kernel


__all__ = ["SequenceArchitecture", "Sequences", "is_sequence", "overlaps", "ridge", "sequence"]
