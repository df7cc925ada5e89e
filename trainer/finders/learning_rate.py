"""The learning-rate range test: which rate to begin with.

Responsible for the test and for what it suggests. Not for schedules of the rate (the plugin
`learning_rate`).

The test is that of L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017,
section 3.3, with a rate that rises exponentially, batch by batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import checks
from trainer.finders.short_fits import check_trainer, short_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trainer.base import Trainer

SMOOTHING = 0.2  # of the powers of ten of the rate, as a Gaussian's standard deviation
SHARE = 0.9  # of the fall of the loss, at which the suggestion lies
EXAMPLE = "find_learning_rate(trainer, x, y, low=1e-6, high=10.0)"


@dataclass(frozen=True, repr=False)
class LearningRates:
    """What a range test found.

    Attributes:
        suggestion: the rate to use.
        rates: of each batch that was trained, [n].
        losses: of each batch, [n]; the last may be infinite or NaN.
        smoothed: the losses without the noise of batches, [n]; NaN where they are not finite.
    """

    suggestion: float
    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    def __repr__(self) -> str:
        return (
            f"LearningRates(suggestion={self.suggestion:.3g}, {len(self.rates)} rates from "
            f"{self.rates[0]:.3g} to {self.rates[-1]:.3g})"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses over the rates, with the suggestion marked.

        Args:
            ax: where to draw. None: a new figure.
        """
        from trainer.figures import COLOURS, new_figure

        ax = ax if ax is not None else new_figure((6.4, 4.4)).add_subplot()
        ax.plot(self.rates, self.losses, color=COLOURS[5], linewidth=1, label="loss of the batch")
        ax.plot(self.rates, self.smoothed, color=COLOURS[0], label="smoothed")
        ax.axvline(
            self.suggestion,
            color=COLOURS[1],
            linestyle="--",
            label=f"suggestion {self.suggestion:.3g}",
        )
        ax.set_xscale("log")
        start = self.smoothed[0]
        low = np.nanmin(self.smoothed)
        ax.set_ylim(low - 0.2 * (start - low), start + 0.8 * (start - low))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend(fontsize="small")
        ax.grid(True, alpha=0.3)
        return ax


def find_learning_rate(
    trainer: Trainer,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
) -> LearningRates:
    """Train a copy at rising rates, a batch each, and suggest the rate to use.

    The trainer and the random states of all libraries stay as they were; its callbacks,
    validation_split and run_dir take no part.

    Args:
        trainer: fitted or not.
        x, y, sample_weight: as for Trainer.fit. Where there are fewer batches than steps, the data
            are gone through several times. A shuffled stream with a seed gives its next pass
            another order than without the test.
        low, high: the range of rates.
        steps: batches, and rates, at most: the test ends where the loss diverges.

    Returns:
        The suggestion, with the rates and losses behind it.

    Raises:
        TypeError, ValueError: bad arguments, what fit refuses, or a loss that falls at no rate.
    """
    check_trainer("find_learning_rate", trainer)
    low, high = checks.positive("low", low), checks.positive("high", high)
    if high < 10 * low:
        raise ValueError(
            f"low={low!r}, high={high!r}: high must be ten times low or more; write {EXAMPLE}"
        )
    checks.integer("steps", steps, low=20, example=200)
    from trainer.finders.probes import RateTest

    test = RateTest(rates=np.geomspace(low, high, steps))
    short_fit(trainer, test, x, y, sample_weight, epochs=steps)
    losses = np.array(test.losses)
    rates = test.rates[: len(losses)]
    suggestion, smoothed = suggest(rates, losses)
    return LearningRates(suggestion, rates, losses, smoothed)


def suggest(rates: np.ndarray, losses: np.ndarray) -> tuple[float, np.ndarray]:
    """The rate at which the smoothed loss has made 90% of its fall, and the smoothed losses.

    Usual rules take the steepest descent, or a tenth of the rate of the lowest loss. Both are noisy
    (a slope, a flat minimum), and mostly lower than the best rate by a factor of 3 to 30. Where the
    loss crosses a height is told precisely, and it is still below the rates that do harm.

    Args:
        rates: rising, [n].
        losses: of a batch at each rate, [n].

    Raises:
        ValueError: the loss falls no further than by chance.
    """
    from scipy.ndimage import gaussian_filter1d

    finite = np.isfinite(losses)
    n = len(losses) if finite.all() else int(np.argmin(finite))
    width = max(1.0, SMOOTHING / np.log10(rates[1] / rates[0])) if len(rates) > 1 else 1.0
    smoothed = np.full(len(losses), np.nan)
    tested = f"from {rates[0]:.3g} to {rates[-1]:.3g}"
    if n < 10:
        raise ValueError(
            f"find_learning_rate: the loss diverges within the first {n + 1} batches, at rates "
            f"{tested}; look whether x is scaled, or write a lower rate to begin with, such as "
            f"low={rates[0] / 1e3:.0e}"
        )
    smoothed[:n] = gaussian_filter1d(losses[:n], width, mode="reflect")
    lowest = int(np.argmin(smoothed[:n]))
    start = float(np.mean(losses[: n // 10]))  # of 10 and more, so 1 at least
    fall = start - smoothed[lowest]
    noise = float(np.std((losses - smoothed)[: n // 2]))
    # the filter averages so many; 5 deviations, for the lowest of many places is looked at
    by_chance = 5 * noise / np.sqrt(2 * np.sqrt(np.pi) * width)
    if fall <= by_chance:
        raise ValueError(
            f"find_learning_rate: the loss falls at no rate {tested} by more than chance (from "
            f"{start:.4g} to {smoothed[lowest]:.4g}); where batches are small and noisy write "
            f"steps={5 * len(rates)}, otherwise another range, or look with diagnose() whether the "
            "model can learn these data"
        )
    reached = int(np.argmax(smoothed[: lowest + 1] <= start - SHARE * fall))
    return float(rates[reached]), smoothed
