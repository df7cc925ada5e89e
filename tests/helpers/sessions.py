"""What a callback sees of a fit, for tests that call its hooks themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from trainer.callbacks.callback import Session
from trainer.history import History


def session(*, core: Any = None, **fields: Any) -> Session:
    """Return a session without a fit.

    Args:
        core: The model whose steps would run, if no network is among the fields.
        **fields: Of the session; the others are those of a fit that has just begun.
    """
    given = {
        "owner": "Trainer",
        "params": {},
        "epochs": 3,
        "verbose": 0,
        "callbacks": (),
        "network": SimpleNamespace(core=core),
        "history": History(),
        "feed": None,
        "validation": None,
        "seed": 0,
        "folder": None,
        "save": None,
        "load_weights": None,
    }
    return Session(**given | fields)
