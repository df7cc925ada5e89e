"""A space as scikit-learn's own searches take it: lists for a grid, distributions to draw from.

Responsible for GridSearchCV, RandomizedSearchCV and their halving kin over a Trainer's annotated
domains. Not for drawing (`space.from_unit`), nor for our own searches, which take a Space as it is.

    RandomizedSearchCV(trainer, distributions(trainer), n_iter=20)
    GridSearchCV(trainer, grid(trainer, {"learning_rate": Float(1e-4, 1e-1, log=True)}, levels=4))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.utils import check_random_state

from search.space import LEVELS, Space, from_unit, listed, values
from trainer.checks import integer
from trainer.hyperparameters import Domain, Int


def grid(estimator: Any, space: Any = None, levels: int = LEVELS) -> dict[str, list[Any]]:
    """The values of a grid by parameter, for GridSearchCV and ParameterGrid.

    Args:
        estimator, space: as of Space.of.
        levels: how many values to take of a domain without steps, at least 2; see Space.grid.

    Raises:
        TypeError, ValueError: no such space, or a parameter with a condition.
    """
    integer("levels", levels, low=2)
    domains = _unconditional(estimator, space)
    return {name: listed(domain, levels) for name, domain in domains.items()}


def distributions(estimator: Any, space: Any = None) -> dict[str, Any]:
    """What to draw from by parameter, for RandomizedSearchCV and ParameterSampler.

    Where all values of a domain are equally likely they are given as a sequence: scikit-learn
    draws without repetition if all domains are.

    Args:
        estimator, space: as of Space.of.

    Raises:
        TypeError, ValueError: no such space, or a parameter with a condition.
    """
    return {name: _drawn(domain) for name, domain in _unconditional(estimator, space).items()}


@dataclass(frozen=True)
class Distribution:
    """A domain that scikit-learn can draw from.

    Attributes:
        domain: whose own distribution it is: uniform, or uniform in the logarithm.
    """

    domain: Domain

    def rvs(self, random_state: Any = None) -> Any:
        """One value.

        Args:
            random_state: a seed, a numpy RandomState, or None for NumPy's own.
        """
        return from_unit(self.domain, float(check_random_state(random_state).random_sample()))


def _unconditional(estimator: Any, space: Any) -> dict[str, Domain]:
    domains = Space.of(estimator, space).domains
    for name, domain in domains.items():
        if domain.when:
            raise ValueError(
                f"{name}: when={dict(domain.when)!r} has no form in scikit-learn's grids and "
                f"distributions; leave it out, space={[n for n in domains if n != name]!r}, or "
                "write search.SklearnSearch, which knows conditions"
            )
    return dict(domains)


def _drawn(domain: Domain) -> Any:
    found = values(domain)
    uneven = isinstance(domain, Int) and domain.log
    return Distribution(domain) if found is None or uneven else found
