"""The backend: the only access to the folder in which steps are compiled.

Responsible for the choice of the folder, and for what the rest of the package uses of it. Another
backend is a folder beside `tensorflow/` with modules of the same names, and a choice here. Streams
(tf.data) and the encoders of tables are not part of it: docs/architecture.md says what these would
need under another backend.
"""

from trainer.engine.tensorflow import (
    generators,
    operations,
    plan,
    sharing,
    strategy,
    tensors,
    variables,
)
from trainer.engine.tensorflow.plan import Plan
from trainer.engine.tensorflow.program import Program
from trainer.engine.tensorflow.replicas import Replicas
from trainer.engine.tensorflow.strategy import agree
from trainer.engine.tensorflow.variables import Held

__all__ = [
    "Held",
    "Plan",
    "Program",
    "Replicas",
    "agree",
    "generators",
    "operations",
    "plan",
    "sharing",
    "strategy",
    "tensors",
    "variables",
]
