"""Hyperparameters: the values that a field may take in a search, and how a class says so."""

from __future__ import annotations

from trainer.hyperparameters.define_by_run import DefineByRun
from trainer.hyperparameters.domains import Bool, Choice, Domain, Drawn, Float, Int, Repeat

__all__ = ["Bool", "Choice", "DefineByRun", "Domain", "Drawn", "Float", "Int", "Repeat"]
