"""Measures a fitted network on the sample of its training data, for a diagnosis.

Responsible for measuring how much better than a constant the predictions are, the inputs and
outputs of each layer, the gradients at the start, and the effect of other learning rates in a
short trial. It leaves the network unchanged. Not for interpreting the measurements (`reasons`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data import arrays, preparation
from trainer.data.arrays import map_tree
from trainer.data.targets import Classes
from trainer.doctor.evidence import MAX_ROWS, Evidence, Sample, draw_rows
from trainer.doctor.skill import Result, compares_numbers, constant_loss, of_labels, of_numbers
from trainer.doctor.watching import LayerStats, watch
from trainer.engine.backend import tensors
from trainer.engine.feeds import RowsFeed
from trainer.engine.loop import run_chunks
from trainer.history import History
from trainer.network import compile, probabilities
from trainer.network.build import Recipe, build
from trainer.network.network import Network, has_only_a_step, row_bytes

PROBE_BYTES = 2**22  # of the rows on which the layers are observed
TRIAL_STEPS = 50
TRIAL_ROWS = 500  # to compute the loss on
# powers of ten; a loss in the unit of large targets may need a very low rate
DOWN, UP = (-1, -2, -3, -4, -5, -6, -7, -8), (1, 2, 3, 4, 5)
ENOUGH = 0.1  # relative decrease of the loss in a trial with a useful rate


@dataclass(frozen=True)
class Training:
    """What was trained, and how.

    Attributes:
        recipe: What the estimator specifies about its network.
        network: The trained network.
        history: The history of the training.
        seed: The seed of the training.
        batch_size, normalize: The fields of these names.
    """

    recipe: Recipe
    network: Network
    history: History
    seed: int
    batch_size: int
    normalize: str | None


class Examination:
    """Measurements of a training, each made on first access.

    Args:
        training: What was trained.
        evidence: The sample of its data.
    """

    def __init__(self, training: Training, evidence: Evidence) -> None:
        self.recipe = training.recipe
        self.seed = training.seed
        self.batch_size = training.batch_size
        self.normalize = training.normalize
        network = self.network = training.network
        self.evidence = evidence
        self.history = training.history
        # A model that defines only train_step cannot predict.
        self.can_predict = not has_only_a_step(network.core)

    @functools.cached_property
    def results(self) -> dict[str, Result]:
        """How well each output predicts the training rows; empty if unknown."""
        return self._results(self.evidence.train)

    @functools.cached_property
    def valid_results(self) -> dict[str, Result]:
        """The same for the validation rows."""
        return {} if self.evidence.valid is None else self._results(self.evidence.valid)

    @property
    def skill(self) -> float | None:
        """The skill of the best output on the training rows; None if unknown."""
        return max((r.skill for r in self.results.values()), default=None)

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch; 0 if a custom model does not log it."""
        return [record.get("loss", 0.0) for record in self.history.records]

    @property
    def steps(self) -> int | None:
        """The number of updates of the weights; None if the number of rows is unknown."""
        rows = self.evidence.train.rows
        return None if rows is None else len(self.history) * math.ceil(rows / self.batch_size)

    @property
    def chain(self) -> bool:
        """Whether the network is a plain sequence of layers."""
        import keras

        return isinstance(self.network.core, keras.Sequential)

    @property
    def broken(self) -> bool:
        """Whether the last loss or a prediction is not finite."""
        bad = bool(self.losses) and not math.isfinite(self.losses[-1])
        return bad or self.skill == -math.inf

    @property
    def constant_loss(self) -> float | None:
        """The loss of the best constant prediction; None if it cannot be computed from y."""
        y = self.evidence.train.y
        if y is None or self.evidence.weighted:
            return None
        losses = dict(arrays.leaves(self.network.core.loss, ""))
        single = next(iter(losses.values()))
        found = [constant_loss(losses.get(n, single), a) for n, a in arrays.leaves(y, "")]
        known = [value for value in found if value is not None]
        return sum(known) if len(known) == len(found) else None

    @functools.cached_property
    def layers(self) -> list[LayerStats]:
        """The layers of the trained network, in the order in which they are called."""
        return self._layer_stats(self.network)

    @functools.cached_property
    def layers_at_start(self) -> list[LayerStats]:
        """The same before the first step."""
        return [] if self.at_start is None else self._layer_stats(self.at_start)

    @functools.cached_property
    def at_start(self) -> Network | None:
        """The network as it was before the first step, rebuilt from its seed."""
        trained = self.network
        few = preparation.probe(self.evidence.train.x)
        made = build(
            self.recipe,
            trained.inputs,
            trained.targets,
            precision=trained.precision,
            seed=self.seed,
            probe=few,
        )
        made.make_variables(self._feed.spec)
        shapes = [tuple(w.shape) for w in made.core.weights]
        return made if shapes == [tuple(w.shape) for w in trained.core.weights] else None

    @functools.cached_property
    def flow(self) -> float | None:
        """Gradient of the first layer's weights relative to the last layer's, at the start.

        The ratio of the root mean squares before the first step; None if unknown. It is unknown
        if some of the weights start at 0, as those of a last layer may: they let no gradient
        through in the first step, but in later ones.
        """
        if self.at_start is None or self.evidence.train.y is None or not self.can_predict:
            return None
        core = self.at_start.core
        matrices = [w for w in core.trainable_weights if len(w.shape) > 1]
        if len(matrices) < 2:
            return None
        x, y = self._few_tensors(self.at_start)
        with self.at_start.ambient(), compile.state_kept(core):
            found = tensors.gradients(
                lambda: core.compute_loss(x=x, y=y, y_pred=core(x, training=False)), matrices
            )
        core.reset_metrics()
        sizes = [
            math.sqrt(float(np.mean(np.square(tensors.to_numpy(g).astype(np.float64)))))
            for g in found
            if g is not None
        ]
        if len(sizes) < 2 or not sizes[-1] > 0:  # or NaN
            return None
        zero = [not tensors.to_numpy(w).any() for w in matrices]
        if sizes[0] == 0 and any(zero) and not all(zero):
            return None
        return sizes[0] / sizes[-1]

    @functools.cached_property
    def loss_at_start(self) -> float:
        """The loss before the first step; NaN if unknown."""
        return math.nan if self.at_start is None else self.at_start.evaluate(self._few)["loss"]

    @functools.cached_property
    def fall(self) -> float | None:
        """The relative decrease of the loss in the training; negative if it rose."""
        if self.at_start is None or self.network.fixed_rows is not None:
            return None
        return _gain(self.loss_at_start, self.network.evaluate(self._few)["loss"])

    @functools.cached_property
    def trials(self) -> dict[float, float]:
        """The relative decrease of the loss in some steps on the sample, by learning rate.

        -inf if the loss diverges. The first rate is that of the training. Empty with a schedule.
        """
        network = self.at_start
        if network is None or network.fixed_rows is not None or network.core.optimizer is None:
            return {}
        core = network.core
        try:
            rate = float(np.asarray(core.optimizer.learning_rate))
            core.optimizer.learning_rate = rate
        except TypeError:
            return {}  # Keras refuses to set the rate of a schedule
        kept = [*core.variables, *core.optimizer.variables]
        values = [v.numpy() for v in kept]
        before = self.loss_at_start

        def gain(power: int) -> float:
            for variable, value in zip(kept, values, strict=True):
                variable.assign(value)
            core.optimizer.learning_rate = rate * 10.0**power
            self._take_steps(network)
            return _gain(before, network.evaluate(self._few)["loss"])

        own = gain(0)
        tried = {rate: own}
        # The likelier direction first: with too high a rate the loss rises.
        for powers in (DOWN, UP) if own < -ENOUGH / 10 else (UP, DOWN):
            best = own
            for power in powers if own < 0.5 else ():
                found = tried[rate * 10.0**power] = gain(power)
                if found == -math.inf and power > 0 or found < best and best >= ENOUGH:
                    break
                best = max(best, found)
            if best >= max(ENOUGH, 3 * own):
                break
        for variable, value in zip(kept, values, strict=True):
            variable.assign(value)
        return tried

    def custom_loss_broadcasts(self) -> bool:
        """Return whether a custom loss broadcasts y [n] against outputs [n, 1] to [n, n].

        If so, shuffling y of shape [n] leaves it unchanged, but y of shape [n, 1] does not.
        """
        network, y = self.network, self.evidence.train.y
        own = self.recipe.compute_loss is not None or (
            callable(network.core.loss) and type(network.core.loss).__name__ == "function"
        )
        ends = [s for s in self.layers if s.gives_output]
        if not own or len(ends) != 1 or ends[0].width != 1 or getattr(y, "ndim", 0) != 1:
            return False
        import keras

        core = network.core
        x, true = self._few_tensors(network)
        noise = np.random.default_rng(0).normal(size=(len(true), 1))
        made_up = tensors.constant(noise, network.float_dtype)

        def loss(y: Any) -> float:
            return float(core.compute_loss(x=x, y=y, y_pred=made_up))

        with network.ambient(), compile.state_kept(core):
            order = np.random.default_rng(1).permutation(len(true))
            shuffled = keras.ops.take(true, order, axis=0)
            found = [loss(true), loss(shuffled), loss(true[:, None]), loss(shuffled[:, None])]
        core.reset_metrics()
        return math.isclose(*found[:2], rel_tol=1e-5) and not math.isclose(*found[2:], rel_tol=1e-5)

    def _take_steps(self, network: Network) -> None:
        done = epoch = 0
        while done < TRIAL_STEPS:
            chunks = self._feed.train(epoch, TRIAL_STEPS)
            for last, _ in run_chunks(network.program.train, self._feed, chunks, 0):
                if done + last >= TRIAL_STEPS:
                    break
            done, epoch = done + last, epoch + 1

    @functools.cached_property
    def _feed(self) -> RowsFeed:
        return self._feed_of(MAX_ROWS)

    @functools.cached_property
    def _few(self) -> RowsFeed:
        return self._feed_of(TRIAL_ROWS)

    def _feed_of(self, rows: int) -> RowsFeed:
        sample = self.evidence.train
        few = draw_rows(arrays.length(sample.x, "x"), rows)
        x, y = (None if tree is None else arrays.take(tree, few) for tree in (sample.x, sample.y))
        return RowsFeed(
            self.network.batch(x, y),
            batch_size=self.batch_size,
            float_dtype=self.network.float_dtype,
            shuffle=True,
            seed=0,
        )

    # ---- predictions -------------------------------------------------------------------------

    def _results(self, sample: Sample) -> dict[str, Result]:
        network = self.network
        if sample.y is None or not self.can_predict:
            return {}
        if network.targets.task == "custom" and not compares_numbers(network.core.loss):
            return {}  # only the custom loss knows how the outputs relate to y
        x = sample.x
        if network.fixed_rows is not None:
            full = arrays.length(x, "x") // network.fixed_rows * network.fixed_rows
            x = map_tree(lambda a: a[:full], x)
        if arrays.length(x, "x") < 2:
            return {}
        with compile.state_kept(network.core):
            predicted = network.predict(x)
        n = arrays.length(x, "x")
        true = {name: a[:n] for name, a in arrays.leaves(sample.y, "")}
        if isinstance(network.targets, Classes):
            predicted = probabilities.as_probabilities(predicted, network.readings)
            labels = dict(arrays.leaves(network.targets.labels, ""))
            given = dict(arrays.leaves(network.targets.probabilities(predicted), ""))
            return {n: of_labels(labels[n], true[n], given[n]) for n in true}
        given = dict(arrays.leaves(predicted, ""))
        return {
            n: of_numbers(true[n], given[n])
            for n in true
            if n in given and given[n].size == true[n].size
        }

    # ---- layers ------------------------------------------------------------------------------

    def _few_tensors(self, network: Network) -> tuple[Any, Any]:
        sample = self.evidence.train
        rows = max(8, min(256, PROBE_BYTES // max(1, row_bytes(sample.x))))
        rows = min(rows, arrays.length(sample.x, "x"))
        few = draw_rows(arrays.length(sample.x, "x"), rows)
        few = few if network.fixed_rows is None else np.arange(network.fixed_rows)
        y = None if sample.y is None else arrays.take(sample.y, few)
        feed = RowsFeed(
            network.batch(arrays.take(sample.x, few), y),
            batch_size=len(few),
            float_dtype=network.float_dtype,
        )
        x, *rest = network.program.transformed(feed.first())
        return x, rest[0] if rest else None

    def _layer_stats(self, network: Network) -> list[LayerStats]:
        if not self.can_predict:
            return []
        core = network.core
        x, _ = self._few_tensors(network)
        with network.ambient(), compile.state_kept(core):
            return watch(core, x)


def _gain(before: float, after: float) -> float:
    return (before - after) / abs(before) if math.isfinite(after) and before else -math.inf
