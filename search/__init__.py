"""Hyperparameter searches over trainers, on all cores.

Responsible for the public names. So far the package holds spaces, proposers, the study's file and
the processes that run trials; the searches are being built on them.

Names are loaded when they are first used: a worker process sets its number of threads before it
imports NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.space import Space

__all__ = ["Space"]


def __getattr__(name: str) -> Any:
    if name == "Space":
        from search.space import Space

        return Space
    raise AttributeError(f"module 'search' has no attribute {name!r}")
