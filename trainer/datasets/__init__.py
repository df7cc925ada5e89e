"""Data sets by name, and the user's own files, as one typed object with three splits.

Responsible for finding or downloading the data, reading it into arrays or DataFrames, and
splitting it into train, validation and test rows in a way that the seed alone decides. Not
responsible for scaling, encoding or batching: what `load` returns is what the source holds.

Where to look: `loading` decides which reader answers, `dataset` is what it returns, `splits`
makes the splits, `cache` finds and downloads, and each other module reads one kind of source.
"""

from trainer.datasets.cache import DataFileError
from trainer.datasets.dataset import Dataset, Split
from trainer.datasets.loading import load, names

__all__ = ["DataFileError", "Dataset", "Split", "load", "names"]
