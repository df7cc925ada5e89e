"""The engine: one training loop (`loop`) over compiled functions (`program`).

Nothing here knows about labels, tables or estimators, only compiled Keras models and batches.
"""

import pkgutil

BACKENDS = tuple(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
