"""Hyperparameter searches over trainers, on all cores.

Responsible for the public names. So far the package holds spaces and proposers; what runs and
stores trials is being built on them.
"""

from __future__ import annotations

from search.space import Space

__all__ = ["Space"]
