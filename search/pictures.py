"""The methods of a search that show its results: pictures and a summary.

Responsible for passing the results of a fitted search to the code that draws them (`plots`,
`summary`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.study.storage import ENDED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from search.space import Space
    from search.study.storage import Trial


class Pictures(ABC):
    """Plots of a study; every method returns Axes, and `axes.figure.savefig(...)` saves one."""

    results_: pd.DataFrame
    epochs_: pd.DataFrame
    directory_: str | None
    _space: Space
    _trials: list[Trial]
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

    def importance(self, *, random_state: int = 0, method: str = "forest") -> pd.Series:
        """Return the importance of each parameter: see search.plots.importance.

        Args:
            random_state: the same value returns the same shares.
            method: "forest", "fanova" or "ped-anova".
        """
        from search import plots

        return plots.importance(
            self._table(),
            self._space,
            random_state=random_state,
            method=method,
            maximize=self._maximize,
        )

    def plot_importance(
        self, *, random_state: int = 0, method: str = "forest", ax: Axes | None = None
    ) -> Axes:
        """Plot the importance as bars: see search.plots.plot_importance.

        Args:
            random_state: the same value returns the same shares.
            method: "forest", "fanova" or "ped-anova".
            ax: where to draw.
        """
        from search import plots

        return plots.plot_importance(
            self._table(),
            self._space,
            objective=self._objective,
            random_state=random_state,
            method=method,
            maximize=self._maximize,
            ax=ax,
        )

    def plot_contour(
        self, x: str | None = None, y: str | None = None, *, ax: Axes | None = None
    ) -> Axes:
        """Plot the score over two parameters: see search.plots.plot_contour.

        Args:
            x: the parameter of the horizontal axis. None: the most important one that is left, or
                the first if there are too few trials to know.
            y: the other one; None: as x.
            ax: where to draw.

        Raises:
            ValueError: the space has a single parameter, or no such one.
        """
        from search import plots

        table = self._table()
        names = list(self._space.domains)
        if len(names) < 2:
            raise ValueError(
                f"plot_contour: the space has only {names[0]!r}; write plot_slice() for one "
                "parameter"
            )
        if x is None or y is None:
            try:
                names = list(self.importance().index)
            except ValueError:  # too few trials, or all alike: any two
                names = list(self._space.domains)
        left = [name for name in names if name not in (x, y)]
        x = left.pop(0) if x is None else x
        y = left.pop(0) if y is None else y
        return plots.plot_contour(table, self._space, x, y, **self._goal(), ax=ax)

    def plot_distribution(
        self, others: Mapping[str, Any] | None = None, *, ax: Axes | None = None
    ) -> Axes:
        """Plot the distribution of the scores: see search.plots.plot_distribution.

        Args:
            others: studies to compare with, fitted or loaded, by name.
            ax: where to draw.

        Raises:
            TypeError: others are not studies by name.
        """
        from search import plots

        tables = {"this study": self._table()}
        named = others is None or isinstance(others, Mapping)
        if not named or not all(hasattr(s, "results_") for s in (others or {}).values()):
            raise TypeError(
                f"others={others!r}: must be a dict from name to a fitted search or a loaded "
                "study; write {'before': load_study('studies/first')}"
            )
        tables |= {name: study.results_ for name, study in (others or {}).items()}
        return plots.plot_distribution(
            tables, maximize=self._maximize, objective=self._objective, ax=ax
        )

    def plot_timeline(self, *, ax: Axes | None = None) -> Axes:
        """Plot when trials ran, and on how many workers: see search.plots.plot_timeline."""
        import pandas as pd

        from search import plots

        self._table()
        columns = ("trial", "state", "started", "ended")
        rows = [(t.id, t.state, t.started, t.ended) for t in self._trials]
        table = pd.DataFrame(rows, columns=columns).astype({"started": float, "ended": float})
        return plots.plot_timeline(table, ax=ax)

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
        if best is not None:
            best = int(table.trial[table.state.isin(ENDED)].iloc[best])
        drawn = list(self.epochs_["trial"]) if trials is None else trials
        if not isinstance(drawn, Collection) or best not in drawn:
            best = None  # nobody asked for it, or it is a trial of an earlier study
        return plots.plot_curves(self.epochs_, metric=metric, trials=trials, best=best, ax=ax)

    def summary(self) -> str:
        """Return the best trials, how all ended and why some failed, as text for a terminal."""
        from search.reports.summary import describe

        return describe(
            self._table(),
            list(self._space.domains),
            **self._goal(),
            others=self._others,
            directory=self.directory_,
            seconds=self._seconds,
            refit_epochs=getattr(self, "refit_epochs_", None),
        )

    @abstractmethod
    def _table(self) -> pd.DataFrame: ...

    @property
    @abstractmethod
    def _others(self) -> list[tuple[str, bool]]: ...

    def _goal(self) -> dict[str, Any]:
        return {
            "maximize": self._maximize,
            "objective": self._objective,
            "by_rung": self._by_rung,
        }
