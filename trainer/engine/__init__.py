"""The engine: one training loop (`loop`) over compiled functions (`program`).

Nothing here knows about labels, tables or estimators, only compiled Keras models and batches.
"""

from pathlib import Path

BACKENDS = tuple(sorted(file.parent.name for file in Path(__file__).parent.glob("*/program.py")))
