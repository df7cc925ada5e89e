"""The learning-rate range test: suggests a learning rate to start with.

Responsible for the test and its suggestion. Not for learning-rate schedules (the plugin
`learning_rate`).

The test is from L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017,
section 3.3, but the rate rises exponentially, batch by batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.finders.short_fits import check_trainer, short_fit
from trainer.utils import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trainer.base import Trainer

SMOOTHING = 0.2  # standard deviation of the Gaussian filter, in powers of ten of the rate
SHARE = 0.9  # share of the total decrease of the loss that is reached at the suggestion
EXAMPLE = "find_learning_rate(trainer, x, y, low=1e-6, high=10.0)"


@dataclass(frozen=True, repr=False)
class LearningRates:
    """The result of a range test.

    Attributes:
        suggestion: The rate to use.
        rates: The rate of each training batch, [n].
        losses: The loss of each batch, [n]; the last may be infinite or NaN.
        smoothed: The smoothed losses, [n]; NaN where they are not finite.
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
        """Plot the losses over the rates, with the suggestion marked.

        Args:
            ax: Where to draw; None makes a new figure.
        """
        from trainer.plots import given_or_new
        from trainer.utils.figures import COLOURS

        ax = given_or_new(ax, (6.4, 4.4))
        ax.plot(self.rates, self.losses, color=COLOURS[5], linewidth=1, label="batch loss")
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
    """Train a copy with a rate that rises batch by batch, and suggest the rate to use.

    The trainer and the random states of all libraries stay unchanged; its callbacks,
    validation_split and run_dir are ignored.

    Args:
        trainer: Fitted or not.
        x: As for Trainer.fit. If there are fewer batches than steps, the data are used several
            times. The test changes the order of the next pass of a shuffled stream with a seed.
        y: As for Trainer.fit.
        sample_weight: As for Trainer.fit.
        low: The lowest rate.
        high: The highest rate.
        steps: The maximum number of batches and rates; the test ends when the loss diverges.

    Returns:
        The suggestion, with the rates and losses that it is based on.

    Raises:
        TypeError, ValueError: Bad arguments, data that fit refuses, or a loss that does not
            decrease at any rate.
    """
    check_trainer("find_learning_rate", trainer)
    low, high = checks.positive("low", low), checks.positive("high", high)
    if high < 10 * low:
        raise ValueError(
            f"low={low!r}, high={high!r}: high must be at least ten times low; write {EXAMPLE}"
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
    """Return the rate at which the smoothed loss has made 90% of its decrease, and the losses.

    The usual rules take the rate of steepest descent, or a tenth of the rate of the lowest loss.
    Both are noisy (a slope, a flat minimum), and mostly lower than the best rate by a factor of 3
    to 30. Where the loss crosses a level can be determined precisely, and is still below harmful
    rates.

    Args:
        rates: Increasing, [n].
        losses: The batch loss at each rate, [n].

    Returns:
        The suggested rate, and the smoothed losses, [n].

    Raises:
        ValueError: The loss does not decrease by more than chance.
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
            f"{tested}; check that x is scaled, or start with a lower rate, such as "
            f"low={rates[0] / 1e3:.0e}"
        )
    smoothed[:n] = gaussian_filter1d(losses[:n], width, mode="reflect")
    lowest = int(np.argmin(smoothed[:n]))
    start = float(np.mean(losses[: n // 10]))  # n >= 10, so at least one loss
    fall = start - smoothed[lowest]
    noise = float(np.std((losses - smoothed)[: n // 2]))
    # The filter averages about 2 * sqrt(pi) * width losses. As many as 5 standard deviations,
    # because this compares the minimum of many.
    by_chance = 5 * noise / np.sqrt(2 * np.sqrt(np.pi) * width)
    if fall <= by_chance:
        raise ValueError(
            f"find_learning_rate: at rates {tested} the loss does not fall by more than chance "
            f"(from {start:.4g} to {smoothed[lowest]:.4g}); if batches are small and noisy, write "
            f"steps={5 * len(rates)}; otherwise try another range, or check with diagnose() "
            "whether the model can learn these data"
        )
    reached = int(np.argmax(smoothed[: lowest + 1] <= start - SHARE * fall))
    return float(rates[reached]), smoothed
