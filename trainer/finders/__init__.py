"""Finders: suggest a learning rate and a batch size to start with.

Only exports the public names; importing this package does not import TensorFlow.
"""

from trainer.finders.batch_size import BatchSizes, find_batch_size
from trainer.finders.learning_rate import LearningRates, find_learning_rate

__all__ = ["BatchSizes", "LearningRates", "find_batch_size", "find_learning_rate"]
