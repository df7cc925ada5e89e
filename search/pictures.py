"""The methods of a search that show its results: pictures and a summary.

Responsible for passing the results of a fitted search to the code that draws them (`plots`,
`summary`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.study.storage import ENDED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from search.space import Space


class Pictures(ABC):
    """Plots of a study; every method returns Axes, and `axes.figure.savefig(...)` saves one."""

    results_: pd.DataFrame
    epochs_: pd.DataFrame
    directory_: str | None
    _space: Space
    _maximize: bool
    _objective: str
    _seconds: float | None

    @property
    @abstractmethod
    def _by_rung(self) -> bool: ...

    def plot_history(self, *, ax: Axes | None = None) -> Axes:
        """Plot the score of each trial and the best so far: see search.plots.plot_history."""
        from search import plots

        return plots.plot_history(self._table(), **self._goal(), ax=ax)

    def plot_parallel(self, *, ax: Axes | None = None) -> Axes:
        """Plot each trial as a line through its parameters: see search.plots.plot_parallel."""
        from search import plots

        return plots.plot_parallel(self._table(), self._space, **self._goal(), ax=ax)

    def plot_slice(self, names: str | Sequence[str] | None = None) -> Any:
        """Plot the score against each parameter: see search.plots.plot_slice."""
        from search import plots

        return plots.plot_slice(self._table(), self._space, **self._goal(), names=names)

    def importance(self, *, random_state: int = 0) -> pd.Series:
        """Return the share of the score's variance by parameter: see search.plots.importance."""
        from search import plots

        return plots.importance(self._table(), self._space, random_state=random_state)

    def plot_importance(self, *, random_state: int = 0, ax: Axes | None = None) -> Axes:
        """Plot the importance as bars: see search.plots.plot_importance."""
        from search import plots

        return plots.plot_importance(
            self._table(),
            self._space,
            objective=self._objective,
            random_state=random_state,
            ax=ax,
        )

    def plot_rungs(self, *, ax: Axes | None = None) -> Axes:
        """Plot which trials were promoted, against epochs: see search.plots.plot_rungs."""
        from search import plots

        return plots.plot_rungs(self._table(), **self._goal(), ax=ax)

    def plot_curves(
        self,
        metric: str | None = None,
        *,
        trials: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Plot learning curves of the trials: see search.plots.plot_curves.

        Args:
            metric: a log. None: the objective if it is a log, otherwise the loss.
            trials: their numbers. None: all.
            ax: where to draw.
        """
        from search import plots

        table = self._table()
        if metric is None:
            metric = self._objective if self._objective in self.epochs_ else "loss"
        best = getattr(self, "best_index_", None)
        ended = table.trial[table.state.isin(ENDED)]
        shown = None if best is None else int(ended.iloc[best])
        return plots.plot_curves(self.epochs_, metric=metric, trials=trials, best=shown, ax=ax)

    def summary(self) -> str:
        """Return the best trials, how all ended and why some failed, as text for a terminal."""
        from search.reports.summary import describe

        return describe(
            self._table(),
            list(self._space.domains),
            **self._goal(),
            directory=self.directory_,
            seconds=self._seconds,
            refit_epochs=getattr(self, "refit_epochs_", None),
        )

    @abstractmethod
    def _table(self) -> pd.DataFrame: ...

    def _goal(self) -> dict[str, Any]:
        return {
            "maximize": self._maximize,
            "objective": self._objective,
            "by_rung": self._by_rung,
        }
