"""Checks for the common causes of failed training, one function per cause.

Responsible for the criteria, thresholds and texts of findings. Not for the order of the checks
(`doctor`), or for measuring the network (`examination`).

The thresholds are rules of thumb: see Karpathy, "A Recipe for Training Neural Networks" (2019), and
LeCun et al., "Efficient BackProp" (1998), on inputs of order 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data import arrays
from trainer.data.labels import Labels
from trainer.data.targets import Classes
from trainer.doctor.examination import Examination
from trainer.doctor.skill import Result, kind
from trainer.doctor.watching import activation, is_dropout, is_linear
from trainer.utils.text import printable

NOWHERE = 0.05  # skill below which predictions count as no better than a constant
POOR = 0.5  # skill below which a training has failed, if a cause is found
GOOD = 0.8  # skill from which the scale of inputs and targets does not matter
LARGE = 10.0  # inputs and targets should be of order 1
SMALL = 0.01
DEAD = 0.5  # share of a layer's ReLUs that are 0 for every row
FLOW = 1e-4  # gradient of the first layer relative to the last
RARE = 0.1  # rows of a class relative to the largest class
FEWER = 0.25  # the same, if nearly all predictions are the largest class
NEARLY_ALL = 0.99  # share of predictions
MISSED = 0.1  # recall of a class that is hardly ever predicted
RISE = 1.2  # validation loss relative to its minimum
GAP = 0.1  # between the scores of training and validation
LEAK = 0.02  # share of validation rows that are also training rows
MIN_EPOCHS = 3  # with fewer, it is too early to judge a training
BELOW = 0.2  # between the losses of training and validation, relative to that of a constant
NARROW = 2  # units of a hidden layer through which hardly anything passes
DROPPED = 0.8  # rate of dropout that leaves hardly any unit
FEW_STEPS = 200  # a training that ended sooner, while its loss fell fast, has only begun
HARDLY_ANY_STEPS = 30  # the same, if the loss fell at all
SLOW = 0.1  # minimum relative decrease of the loss in a training with a useful rate
PACE = 0.02  # the same per epoch: below this, halving the loss takes more than 35 epochs


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        name: The problem in a few words, such as "inputs are not scaled".
        says: The evidence, with numbers.
        change: The field or the code to change.
    """

    name: str
    says: str
    change: str

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.says}\n  change: {self.change}", lines=True)


# ---- how the training went -----------------------------------------------------------------------


def went_nowhere(case: Examination) -> bool:
    """Return whether the predictions are no better than a constant, or not finite."""
    return case.broken or (case.skill is not None and case.skill < NOWHERE)


def failed(case: Examination) -> bool:
    """Return whether the training is so poor that causes should be looked for."""
    return case.broken or (case.skill is not None and case.skill < POOR)


def is_good(case: Examination) -> bool:
    """Return whether the training is so good that scaling does not matter, or cannot be judged."""
    return not case.broken and (case.skill is None or case.skill >= GOOD)


def outcome(case: Examination) -> str:
    """Return a clause that describes how the training went."""
    bad = next((i for i, value in enumerate(case.losses, 1) if not math.isfinite(value)), None)
    if bad is not None:
        return f"the loss is {case.losses[bad - 1]} from epoch {bad} on"
    if case.broken:
        return "the predictions are not finite"
    if went_nowhere(case):
        return "the predictions are no better than a constant"
    return f"the predictions are {100 * (case.skill or 0):.0f}% of the way from a constant to right"


# ---- the usual reasons ---------------------------------------------------------------------------


def mismatch(case: Examination) -> Finding | None:
    """Check for outputs that do not fit the targets or the loss."""
    name = "labels do not match the output"
    network = case.network
    losses = dict(arrays.leaves(network.core.loss, ""))
    ends = [s for s in case.layers if s.gives_output]
    y = dict(arrays.leaves(case.evidence.train.y, ""))
    single = len(ends) == 1 and len(y) == 1
    if single and isinstance(network.targets, Classes):
        last, loss = activation(ends[0].layer), next(iter(losses.values()))
        kind = loss if isinstance(loss, str) else type(loss).__name__
        from_logits = bool(getattr(loss, "from_logits", False))
        if last == "softmax" and ends[0].width == 1:
            return Finding(
                name,
                "the output is a softmax over a single unit, which is 1 for every row",
                'build_model: end it with Dense(1, "sigmoid"), or with '
                'Dense(spec.n_outputs, "softmax")',
            )
        probabilities = last in ("softmax", "sigmoid")
        if "entropy" in kind.lower() and from_logits and probabilities:
            return Finding(
                name,
                f"the loss has from_logits=True, but the output is a {last}: it is applied twice",
                f"loss: leave it out, or write {kind}(); or end build_model with "
                "Dense(spec.n_outputs)",
            )
        known = hasattr(ends[0].layer, "activation")
        other = known and not probabilities and not from_logits
        if "entropy" in kind.lower() and other and failed(case):
            return Finding(
                name,
                f"the loss expects probabilities, but the output's activation is {last}",
                "loss: leave it out, or write from_logits=True; or end build_model with "
                f"Dense(spec.n_outputs, {network.spec.output_activation!r})",
            )
    elif single:
        output_range = {
            "sigmoid": (0.0, 1.0),
            "hard_sigmoid": (0.0, 1.0),
            "softmax": (0.0, 1.0),
            "tanh": (-1.0, 1.0),
            "relu": (0.0, math.inf),
            "relu6": (0.0, 6.0),
            "softplus": (0.0, math.inf),
        }.get(activation(ends[0].layer))
        values = next(iter(y.values()))
        if output_range is not None and values is not None and values.dtype.kind in "fiu":
            outside = float(((values < output_range[0]) | (values > output_range[1])).mean())
            if outside > NOWHERE:
                low, high = float(values.min()), float(values.max())
                return Finding(
                    name,
                    f"the output is a {activation(ends[0].layer)}, with values from "
                    f"{output_range[0]:g} to {output_range[1]:g}, but y goes from {low:.4g} to "
                    f"{high:.4g}: {100 * outside:.0f}% of it is out of range",
                    "build_model: end it with Dense(spec.n_outputs), without an activation",
                )
    return _broadcast(case) if failed(case) else None


def _broadcast(case: Examination) -> Finding | None:
    """Check for a custom loss that compares every target with every output."""
    if not case.custom_loss_broadcasts():
        return None
    return Finding(
        "labels do not match the output",
        "the loss stays the same when the rows of y are shuffled: y of shape (n,) and outputs of "
        "shape (n, 1) are broadcast to (n, n)",
        "compute_loss (or loss): write y = keras.ops.reshape(y, keras.ops.shape(y_pred)) first",
    )


def inputs(case: Examination) -> Finding | None:
    """Check for inputs that are far from order 1."""
    if is_good(case):
        return None
    firsts = [s for s in case.layers_at_start if s.first and math.isfinite(s.size)]
    large = max((s.size for s in firsts), default=1.0)
    small = max((s.deviation for s in firsts), default=1.0)
    if large <= LARGE and small >= SMALL:
        return None
    received = (
        f"values up to {large:.3g} (root mean square)"
        if large > LARGE
        else f"values with a standard deviation of at most {small:.2g}"
    )
    change = 'write normalize="standard"'
    if case.normalize is None:
        change += ', or normalize="minmax"'
    else:
        change = (
            f"normalize={case.normalize!r} does not apply to them: scale them in build_model "
            "with keras.layers.Normalization, or before fit"
        )
    return Finding(
        "inputs are not scaled",
        f"the first layer receives {received}, but works best with values of order 1; "
        f"{outcome(case)}",
        change,
    )


def targets(case: Examination) -> Finding | None:
    """Check for targets that are far from order 1."""
    network, y = case.network, case.evidence.train.y
    if is_good(case):
        return None
    ready = case.recipe.ready_made and getattr(network.targets, "scale", None) is not None
    if y is None or isinstance(network.targets, Classes) or ready:
        return None
    sizes = [
        float(np.sqrt(np.mean(np.square(a.astype(np.float64)))))
        for _, a in arrays.leaves(y)
        if a.dtype.kind in "fiu"
    ]
    if max(sizes, default=1.0) <= LARGE:
        return None
    return Finding(
        "targets are not scaled",
        f"y has a root mean square of {max(sizes):.3g}, but the outputs of an untrained network "
        f"are of order 1; {outcome(case)}",
        "fit on (y - y.mean()) / y.std(), or end build_model with "
        "keras.layers.Rescaling(y.std(), offset=y.mean()); the ready-made architectures of a "
        "Regressor do this themselves",
    )


def dead_from_start(case: Examination) -> Finding | None:
    """Check for ReLUs that are dead before the first step."""
    dead = [s for s in case.layers_at_start if (s.dead or 0.0) >= DEAD]
    if not dead:
        return None
    return _of_dead(
        dead,
        "before the first step",
        'build_model: bias_initializer="zeros", kernel_initializer="he_normal", or '
        'activation="leaky_relu"',
    )


def alike(case: Examination) -> Finding | None:
    """Check for hidden units that start with equal weights, and so stay equal."""
    network = case.at_start
    if network is None or not case.can_predict:
        return None
    hidden = [s for s in case.layers_at_start if not s.gives_output and (s.width or 0) > 1]
    for stats in hidden:
        kernel = getattr(stats.layer, "kernel", None)
        if kernel is None or len(kernel.shape) < 2:
            continue
        columns = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
        if np.ptp(columns, axis=1).max() == 0:
            return Finding(
                "the units are all alike",
                f"the {columns.shape[-1]} units of {stats.layer.name!r} start with equal weights: "
                "they get equal gradients, and remain identical",
                'build_model: leave kernel_initializer out, or write "he_normal"',
            )
    return None


def linear(case: Examination) -> Finding | None:
    """Check for hidden layers that compute a linear function, and so add nothing."""
    hidden = [s for s in case.layers if not s.gives_output]
    weighted = [s for s in hidden if s.multiplies]
    if not weighted or not case.chain or not all(is_linear(s.layer) for s in hidden):
        return None
    return Finding(
        "no activation between the layers",
        f"{len(weighted)} hidden layer{'s' * (len(weighted) > 1)} without an activation can do no "
        f"more than the output layer alone, a linear model; {outcome(case)}",
        'build_model: Dense(..., activation="relu") in the hidden layers',
    )


def too_small(case: Examination) -> Finding | None:
    """Check for a hidden layer through which hardly anything passes."""
    for stats in case.layers:
        dropped = float(getattr(stats.layer, "rate", 0.0) or 0.0)
        if is_dropout(stats.layer) and dropped >= DROPPED:
            return Finding(
                "the network is too small",
                f"{stats.layer.name!r} drops {100 * dropped:.0f}% of the units in each step; "
                f"{outcome(case)}",
                "build_model: a dropout rate from 0.1 to 0.5",
            )
        narrow = stats.multiplies and not stats.gives_output and stats.width is not None
        outputs = max((s.width or 1 for s in case.layers if s.gives_output), default=1)
        if narrow and (stats.width or 0) <= min(NARROW, outputs - 1):
            return Finding(
                "the network is too small",
                f"all information for the {outputs} outputs passes through the {stats.width} "
                f"unit{'s' * (stats.width != 1)} of {stats.layer.name!r}; {outcome(case)}",
                "build_model: more units, such as 64",
            )
    return None


def too_short(case: Examination) -> Finding | None:
    """Check for a training that ended while it still improved fast."""
    losses, steps = case.losses, case.steps
    if steps is None or len(losses) < MIN_EPOCHS or steps > FEW_STEPS:
        return None
    fell = 1 - losses[-1] / losses[-2] if losses[-2] > 0 else 0.0
    if fell < (PACE if steps > HARDLY_ANY_STEPS else 0) or (case.fall or 0.0) <= 0:
        return None
    if "val_loss" in case.history and min(case.history["val_loss"]) < case.history["val_loss"][-1]:
        return None  # more steps would not improve what it knows of new rows
    batches = f"batch_size={max(1, min(32, case.batch_size // 8))}, or " * (case.batch_size > 32)
    return Finding(
        "too few steps",
        f"the weights were updated {steps} times, and the loss still fell by {100 * fell:.0f}% in "
        f"the last epoch; {outcome(case)}",
        f"write {batches}epochs={10 * len(losses)}",
    )


def dying(case: Examination) -> Finding | None:
    """Check for ReLUs that died during training."""
    dead = [s for s in case.layers if (s.dead or 0.0) >= DEAD]
    if not dead or dead_from_start(case) is not None:
        return None
    return _of_dead(
        dead,
        "after training",
        'learning_rate: divide it by 10; or build_model: activation="leaky_relu" and '
        'kernel_initializer="he_normal"',
    )


def _of_dead(dead: list[Any], when: str, change: str) -> Finding:
    worst = max(dead, key=lambda s: s.dead)
    return Finding(
        "dying ReLUs",
        f"{100 * worst.dead:.0f}% of the units of {worst.layer.name!r} are 0 for every row "
        f"{when}: no gradient passes through them",
        change,
    )


def vanishing(case: Examination) -> Finding | None:
    """Check for a gradient that vanishes before it reaches the first layers."""
    flow = case.flow
    ends = [s for s in case.layers_at_start if s.gives_output and s.multiplies]
    firsts = [s for s in case.layers_at_start if s.first]
    received = max((s.deviation for s in ends if math.isfinite(s.deviation)), default=1.0)
    entered = max((s.deviation for s in firsts if math.isfinite(s.deviation)), default=1.0)
    if ends and not any(s.first for s in ends) and received < FLOW * entered:
        return Finding(
            "vanishing gradients",
            "before the first step, the rows differ by "
            f"{received:.1g} where the last layer receives them, and by {entered:.1g} where they "
            "enter: nothing passes through the layers, in either direction",
            'build_model: leave kernel_initializer out, or write "he_normal"; BatchNormalization '
            "between the layers",
        )
    if flow is None or flow >= FLOW:
        return None
    return Finding(
        "vanishing gradients",
        f"before the first step, the first layer's gradient is {flow:.1g} times the last one's: "
        "the first layers hardly learn",
        'build_model: activation="relu" and kernel_initializer="he_normal", '
        "BatchNormalization between the layers, or fewer layers",
    )


def rate(case: Examination) -> Finding | None:
    """Check for a learning rate that does worse than another in a short trial."""
    tried = case.trials
    constant = case.constant_loss
    # Reaching the loss of a constant prediction does not make a rate useful.
    useful = SLOW
    if constant is not None and case.loss_at_start > 0:
        useful = max(SLOW, 1 - (1 - NOWHERE) * constant / case.loss_at_start)
    if not tried:
        return None
    (rate, own), *others = tried.items()
    trial = f"in a trial of a few steps on {arrays.length(case.evidence.train.x, 'x')} rows"
    lower = max(((g, r) for r, g in others if r < rate), default=(-math.inf, rate))
    higher = max(((g, r) for r, g in others if r > rate), default=(-math.inf, rate))

    def effect(gain: float) -> str:
        if gain == -math.inf:
            return "made the loss NaN or infinite"
        return f"{'reduced' if gain >= 0 else 'increased'} the loss by {100 * abs(gain):.0f}%"

    if lower[0] >= useful and own < 0.5 * lower[0]:
        return Finding(
            "learning rate is too high",
            f"{trial} learning_rate={rate:.3g} {effect(own)}, and {lower[1]:.3g} "
            f"{effect(lower[0])}; {outcome(case)}",
            f"{_leave_loss_out(case)}write learning_rate={lower[1]:.1g}",
        )
    fall = case.fall
    slow = fall is not None and fall < min(2 * SLOW, PACE * len(case.losses))
    if slow and higher[0] >= useful and higher[0] > 3 * max(own, 0.0):
        return Finding(
            "learning rate is too low",
            f"the training changed the loss by {-100 * (fall or 0):+.1f}% overall, and {trial} "
            f"learning_rate={higher[1]:.3g} {effect(higher[0])}",
            f"write learning_rate={higher[1]:.1g}",
        )
    return None


def _leave_loss_out(case: Examination) -> str:
    """Return advice for a ready-made Regressor with a loss in the unit of y, squared."""
    scaled = case.recipe.ready_made and getattr(case.network.targets, "scale", None) is not None
    plain = any(kind(loss) == "mse" for _, loss in arrays.leaves(case.network.core.loss, ""))
    return "leave loss out (the default divides y by its deviation), or " * (scaled and plain)


def leak(case: Examination) -> Finding | None:
    """Check for validation rows that are also training rows."""
    overlap = case.evidence.overlap
    if overlap is None or overlap.found < max(2, LEAK * overlap.checked):
        return None
    share = overlap.found / overlap.checked
    if share < 2 * overlap.repeated and _few_values(case):
        return None  # rows with few distinct values coincide by chance, as training rows do
    return Finding(
        "leak between training and validation rows",
        f"{overlap.found} of {overlap.checked} validation rows are also training rows: "
        "validation scores do not show how well the model predicts new rows",
        "drop duplicates before splitting (np.unique or DataFrame.drop_duplicates), or put all "
        "copies of a row into the same split (sklearn.model_selection.GroupShuffleSplit)",
    )


def _few_values(case: Examination) -> bool:
    for _, array in arrays.leaves(case.evidence.train.x):
        columns = array.reshape(len(array), -1)
        columns = columns[:, np.linspace(0, columns.shape[1] - 1, 50).astype(int)]
        if max(len(np.unique(column)) for column in columns.T) > 20:
            return False
    return True


def imbalance(case: Examination) -> Finding | None:
    """Check for a rare class that is hardly ever predicted."""
    if case.evidence.weighted or not all(np.isfinite(r.skill) for r in case.results.values()):
        return None
    known: Any = case.network.targets
    for name, counts in case.evidence.counts.items():
        result = case.results.get(name)
        if result is None or len(result.recalls) != len(counts):
            continue
        several = known.task == "multilabel"
        most = (case.evidence.train.rows or 0) if several else counts.max()
        one_for_all = (
            not several
            and result.predicted[int(counts.argmax())] >= NEARLY_ALL
            and result.fit >= NOWHERE  # the probabilities know more than the predictions
        )
        few = counts < (FEWER if one_for_all else RARE) * most
        rare = few & (counts > 0) & (result.recalls < MISSED)
        if rare.any():
            at = int(np.flatnonzero(rare)[counts[rare].argmin()])
            labels = dict(arrays.leaves(known.labels, ""))[name]
            return _missed(case, labels, result, counts, at)
    return None


def _missed(
    case: Examination, labels: Labels, result: Result, counts: np.ndarray, at: int
) -> Finding:
    """Report a rare class or label, by its index, and how to have it predicted."""
    several = labels.kind == "multilabel"
    said = (
        f"the {'label' if several else 'class'} {labels.classes[at].item()!r} has {counts[at]} of "
        f"{case.evidence.train.rows} rows, and the model finds {100 * result.recalls[at]:.0f}% of "
        "them"
    )
    if not several:
        largest = int(counts.argmax())
        share = result.predicted[largest]
        rows = "every row" if share == 1 else f"{100 * share:.1f}% of the rows"
        said += f"; it predicts {labels.classes[largest].item()!r} for {rows}"
    single = len(case.evidence.counts) == 1
    change = (
        'write class_weight="balanced"' if single and not several else "pass sample_weight to fit"
    )
    if single and (several or labels.n_classes == 2) and labels.thresholds is None:
        metric = "f1" if several else "balanced_accuracy"
        change += f', or decision_threshold="{metric}" with validation_split=0.2'
    return Finding("class imbalance", said, change)


def overfitting(case: Examination) -> Finding | None:
    """Check for a validation loss that rises while the training loss falls."""
    history = case.history
    if "val_loss" not in history or len(history) < MIN_EPOCHS:
        return None
    valid, train = history["val_loss"], history["loss"]
    if not all(map(math.isfinite, valid)) or not case.results or not case.valid_results:
        return None
    best = int(np.argmin(valid))
    weighted = case.evidence.weighted  # the losses of validation rows are not
    advice = "Dropout, fewer units or weight decay in build_model; more rows"
    for name, fresh in case.valid_results.items():
        known = case.results[name]
        if known.skill >= GOOD and fresh.skill < NOWHERE:
            return Finding(
                "overfitting",
                f"the score is {known.score:.2f} on training rows, but no better than that of a "
                f"constant prediction on validation rows ({fresh.score:.2f})",
                advice,
            )
        if not weighted and fresh.fit < 0 and known.fit - fresh.fit >= BELOW:
            return Finding(
                "overfitting",
                "on validation rows the loss is higher than that of a constant prediction, by "
                f"{100 * -fresh.fit:.0f}%; on training rows it is {100 * known.fit:.0f}% lower",
                f'callbacks=["early_stopping"]; {advice}',
            )
    gap = max(case.results[name].score - r.score for name, r in case.valid_results.items())
    fit_gap = max(case.results[name].fit - r.fit for name, r in case.valid_results.items())
    rose = valid[-1] > RISE * valid[best] and train[-1] < train[best]
    if not rose or (gap < GAP and (weighted or fit_gap < BELOW)):
        return None
    epoch = f"{history['epoch'][best]:.0f}"
    return Finding(
        "overfitting",
        f"the validation loss rose from {valid[best]:.3g} in epoch {epoch} to {valid[-1]:.3g}, "
        f"while the training loss fell from {train[best]:.3g} to {train[-1]:.3g}",
        f'callbacks=["early_stopping"], or epochs={epoch}; {advice}',
    )


def constant(case: Examination) -> Finding:
    """Report predictions that are no better than a constant, if no cause was found."""
    spread = max(r.spread for r in case.results.values())
    same = f"the predictions vary by {spread:.2g} over the rows"
    return Finding(
        "constant prediction",
        f"{outcome(case)}; {same}",
        "check that the rows of x and y match (were both shuffled in the same way?) and that y "
        "depends on x at all; then try more epochs and more units",
    )


def not_finite(last: float) -> Finding:
    """Report a loss that is not finite, if no cause was found."""
    return Finding(
        "loss is not finite",
        f"the last loss is {last}, although inputs and learning rate look right",
        "compute_loss, loss or build_model: look for a logarithm, a division or a root of 0; "
        'callbacks=["nan_guard"] finds the layer',
    )
