"""Named data sets and user files, loaded as one typed object with three splits.

Responsible for finding or downloading the data, reading it into arrays or DataFrames, and
splitting it into train, validation and test rows, reproducibly for a given seed. Not responsible
for scaling, encoding or batching: `load` returns the data unchanged.

Where to look: `loading` picks the reader, `dataset` defines the result, `splits` makes the
splits, `cache` finds and downloads files, `availability` says what can be loaded, and each other
module reads one kind of source.
"""

from trainer.datasets.availability import check
from trainer.datasets.cache import DataFileError
from trainer.datasets.dataset import Dataset, Split
from trainer.datasets.loading import load, names
from trainer.datasets.windows import Windows, windows

__all__ = [
    "DataFileError",
    "Dataset",
    "Split",
    "Windows",
    "check",
    "load",
    "names",
    "windows",
]
