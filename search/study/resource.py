"""What the rungs of a trial are measured in: epochs, steps, a parameter, or rows.

Responsible for the amounts of a ladder of rungs, and for what an estimator gets for one of them.
Not for which trial is promoted (`proposers.pruning`), nor for fitting (`evaluation`).
"""

from __future__ import annotations

import hashlib
import hmac
import math
import pickle
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.utils.files import write_whole

EPOCHS = "epochs"
STEPS = "steps"
ROWS = "n_samples"  # scikit-learn's name for it
UNITS = 50  # in an epoch at most, because each is validated
FACTOR = 3  # as in scikit-learn's halving searches and in Hyperband

# Ensembles that come out the same, to the bit, if they grow in several fits with warm_start. Other
# estimators with warm_start begin again with another learning rate or order of rows.
GROWING = {
    "n_estimators": (
        "RandomForestClassifier",
        "RandomForestRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "BaggingClassifier",
        "BaggingRegressor",
    ),
}


@dataclass(frozen=True)
class Resource:
    """The resource of a search whose trials have rungs.

    Attributes:
        name: "epochs", "steps", "n_samples", or the name of an integer parameter.
        amounts: of each rung, the last one being all of it. For steps, in units.
        unit: for steps: how many steps a unit has; otherwise 1.
        seed: of the draw of rows, which is the same for all trials.
        key: signs the fitted ensembles that this search saves. Another search does not know it, and
            thus never unpickles a file that it did not write itself.
    """

    name: str
    amounts: tuple[int, ...]
    unit: int = 1
    seed: int = 0
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False, compare=False)

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter of an estimator that is not a Trainer."""
        return self.name not in (EPOCHS, STEPS, ROWS)

    @property
    def passes(self) -> dict[str, int]:
        """The arguments of Trainer.fit that make an epoch one unit of steps."""
        return {"steps_per_epoch": self.unit} if self.name == STEPS else {}

    def rows(self, x_rows: int, y: Any, amount: int) -> np.ndarray:
        """Return the rows that a fit on part of the data gets, in their order.

        A larger amount includes the rows of a smaller one, and classes keep their shares.

        Args:
            x_rows: number of rows there are.
            y: labels to keep the shares of [x_rows], or None.
            amount: of the rung; the last one stands for all of them.
        """
        number = max(1, round(x_rows * amount / self.amounts[-1]))
        generator = np.random.default_rng(self.seed)
        place = generator.permutation(x_rows) / x_rows
        if y is not None:
            _, labels = np.unique(y, return_inverse=True)
            for label in range(labels.max() + 1):
                own = np.flatnonzero(labels == label)
                # the first row of each class comes before everything else
                place[own] = generator.permutation(np.arange(len(own)) / len(own))
        return np.sort(np.argsort(place, kind="stable")[:number])

    def grows(self, estimator: Any) -> bool:
        """Whether a fit can add to an earlier one without changing what comes out of it."""
        prefix, _, name = self.name.rpartition("__")
        part = estimator.get_params(deep=True)[prefix] if prefix else estimator
        kind = type(part)
        known = kind.__module__.startswith("sklearn.") and kind.__name__ in GROWING.get(name, ())
        return known and not _looks_back(part)

    def save(self, estimator: Any, path: Path) -> None:
        """Save a fitted ensemble, with a signature.

        Raises:
            OSError: it cannot be written.
        """
        content = pickle.dumps(estimator)
        write_whole(path, self._signature(content) + content)

    def load(self, path: Path) -> Any:
        """Return an ensemble that this search saved; None if there is none."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        signature, content = content[:32], content[32:]
        if not hmac.compare_digest(signature, self._signature(content)):
            return None
        return pickle.loads(content)

    def _signature(self, content: bytes) -> bytes:
        return hmac.new(self.key, content, hashlib.sha256).digest()


def ladder(full: int, factor: float, least: float) -> tuple[int, ...]:
    """Return the amounts of successive rungs: `full`, and less of it by `factor` each.

    Args:
        full: of the last rung.
        factor: between rungs, above 1.
        least: of the first rung; it has up to `factor` times as much.
    """
    count = 1 + int(math.log(max(1.0, full / least), factor) + 1e-9)
    amounts = [max(1, math.ceil(full / factor**i - 1e-9)) for i in reversed(range(count))]
    return tuple(dict.fromkeys(amounts))


def unit_of(steps: int, least: float) -> int:
    """Return how many steps a unit has: as many as fit into `least`, and a whole part of an epoch.

    An epoch of Trainer.fit ends where its rows do, so that other units would have fewer steps.

    Args:
        steps: of an epoch over all rows.
        least: of the first rung.
    """
    whole = [d for d in range(1, steps + 1) if steps % d == 0 and d <= max(1, least)]
    return whole[-1] if steps // whole[-1] <= UNITS else steps


def amount_of(params: Mapping[str, Any], name: str) -> int | None:
    """Return the value of an integer parameter; None if it is not one."""
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return None
    return int(value)


def _looks_back(estimator: Any) -> bool:
    """Whether it stops early on rows that another fit would draw anew, or scores left-out rows."""
    stops = getattr(estimator, "n_iter_no_change", None) is not None
    return stops or bool(getattr(estimator, "oob_score", False))
