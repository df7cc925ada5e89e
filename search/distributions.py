"""A space as scikit-learn's own searches take it: lists for a grid, distributions to draw from.

Responsible for GridSearchCV, RandomizedSearchCV and their halving variants over a Trainer's
annotated domains. Not for drawing (`space.from_unit`), nor for our searches, which take a Space.

    RandomizedSearchCV(trainer, distributions(trainer), n_iter=20)
    GridSearchCV(trainer, grid(trainer, {"learning_rate": Float(1e-4, 1e-1, log=True)}, levels=4))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.utils import check_random_state

from search.space import LEVELS, Space, from_unit, listed, values
from trainer.hyperparameters import Domain, Int
from trainer.utils.checks import integer


def grid(estimator: Any, space: Any = None, levels: int = LEVELS) -> dict[str, list[Any]]:
    """Return the grid values of each parameter, for GridSearchCV and ParameterGrid.

    Args:
        estimator: as in Space.of.
        space: as in Space.of.
        levels: number of values of a domain without steps, at least 2; see Space.grid.

    Raises:
        TypeError, ValueError: not a valid space, or a parameter with a condition.
    """
    integer("levels", levels, low=2)
    domains = _unconditional(estimator, space)
    return {name: listed(domain, levels) for name, domain in domains.items()}


def distributions(estimator: Any, space: Any = None) -> dict[str, Any]:
    """Return the distribution of each parameter, for RandomizedSearchCV and ParameterSampler.

    A domain whose values are all equally likely becomes a list: scikit-learn draws without
    replacement if all parameters are lists.

    Args:
        estimator: as in Space.of.
        space: as in Space.of.

    Raises:
        TypeError, ValueError: not a valid space, or a parameter with a condition.
    """
    return {name: _drawn(domain) for name, domain in _unconditional(estimator, space).items()}


@dataclass(frozen=True)
class Distribution:
    """A domain that scikit-learn can draw from.

    Attributes:
        domain: to draw from, uniformly, or uniformly in the logarithm.
    """

    domain: Domain

    def rvs(self, random_state: Any = None) -> Any:
        """Draw one value.

        Args:
            random_state: a seed, a numpy RandomState, or None for NumPy's global one.
        """
        return from_unit(self.domain, float(check_random_state(random_state).random_sample()))


def _unconditional(estimator: Any, space: Any) -> dict[str, Domain]:
    whole = Space.of(estimator, space)
    if whole.parts:
        raise TypeError(
            f"space={space!r}: a list of spaces; pass each dict by itself, and the results to "
            "scikit-learn as a list"
        )
    domains = whole.domains
    for name, domain in domains.items():
        if domain.when:
            raise ValueError(
                f"{name}: when={dict(domain.when)!r} has no equivalent in scikit-learn's grids and "
                f"distributions; leave {name} out, space={[n for n in domains if n != name]!r}, or "
                "write search.SklearnSearch, which supports conditions"
            )
    return dict(domains)


def _drawn(domain: Domain) -> Any:
    found = values(domain)
    uneven = isinstance(domain, Int) and domain.log and domain.step is None
    return Distribution(domain) if found is None or uneven else found
