"""What the tests of twins share: models trained alone, and after another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype("float32")
Y = X[:, :1] - 2 * X[:, 1:2] ** 2

Kind = dict[str, Any]


def _fit(kind: Kind) -> Any:
    """A fitted Trainer.

    Args:
        kind: build, and if need be optimizer (both functions), loss, metrics, x, y, weight, fields.
    """
    import keras

    from trainer import Trainer

    class Kept(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            return kind["build"]()

        def configure_optimizer(self) -> Any:
            return kind.get("optimizer", lambda: keras.optimizers.SGD(0.01))()

    fields = {"epochs": 2, "batch_size": 8, "random_state": 3, "verbose": 0}
    fields |= {"loss": kind.get("loss", "mse"), "metrics": kind.get("metrics")}
    trainer = Kept(**fields | kind.get("fields", {}))
    return trainer.fit(kind.get("x", X), kind.get("y", Y), sample_weight=kind.get("weight"))


def _numbers(kind: Kind) -> list[Any]:
    trainer = _fit(kind)
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]
    return [*logs, *trainer.model_.get_weights()]


def _equal(ours: list[Any], theirs: list[Any]) -> bool:
    return len(ours) == len(theirs) and all(
        a == b if isinstance(a, dict) else np.array_equal(a, b)
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.fixture
def assert_apart() -> Callable[[Kind, Kind], None]:
    """Trains the second of a pair alone, and after the first: its numbers must be the same."""
    from trainer.engine.tensorflow import graphs

    def check(first: Kind, second: Kind) -> None:
        graphs.forget()
        alone = _numbers(second)
        graphs.forget()
        of_first = _numbers(first)
        after = _numbers(second)
        assert not _equal(alone, of_first), "the pair does not differ: nothing would be proved"
        assert _equal(alone, after)

    return check


@pytest.fixture
def traces_of_second() -> Callable[[Kind, Kind], int]:
    """How many graphs the second of a pair traces after the first."""
    from trainer.engine.tensorflow import graphs

    def count(first: Kind, second: Kind) -> int:
        graphs.forget()
        _fit(first)
        traces: int = _fit(second)._network.program.graphs.traces
        return traces

    return count
