"""`check`: which data sets and kinds of files can be loaded on this machine, and what is missing.

Not for downloading anything: a missing file is only asked for.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from trainer.datasets import images, tables, texts
from trainer.datasets.cache import MIRROR, PublishedFile, cached, keras_home, unreachable_each
from trainer.utils.checks import positive

if TYPE_CHECKING:
    import pandas as pd

# Kinds of files that need a package which is not installed with this one, and its extra.
_NEEDED = {
    ".parquet": ("pyarrow", "parquet"),
    ".xlsx": ("openpyxl", "excel"),
    ".xls": ("python_calamine", "excel"),
    ".zst": ("zstandard", "zstd"),
}


def check(*, timeout: float = 5.0) -> pd.DataFrame:
    """Return which named data sets and kinds of files can be loaded here.

    Args:
        timeout: How many seconds to wait for the host of a file that is not in the cache; all are
            asked at the same time.

    Returns:
        A DataFrame indexed by "name" (that of a data set, or the suffix of a file) with the text
        columns "state" and "note". The state is "ready" (installed or in the cache),
        "downloadable" (its address answers), or "missing"; the note says where the files are or
        why they cannot be had, and what to do.

    Raises:
        TypeError, ValueError: The timeout is not a number above 0.
        ValueError: The environment variable TRAINER_DATASETS_MIRROR is neither an address nor a
            folder.

    >>> datasets.check().loc["iris", "state"]  # doctest: +SKIP
    'ready'
    """
    import pandas as pd

    timeout = positive("timeout", timeout)
    found: dict[str, tuple[str, str]] = {}
    files = images.published() | texts.published() | tables.published()
    missing = {
        name: [file for file in parts if cached(file) is None] for name, parts in files.items()
    }
    addresses = {file.address for parts in missing.values() for file in parts}
    problems = unreachable_each(addresses, timeout)
    for name in sorted(images.LOADERS | texts.LOADERS | tables.LOADERS):
        if name not in files:
            found[name] = "ready", "comes with scikit-learn"
        elif not missing[name]:
            found[name] = "ready", f"in {keras_home()}"
        else:
            found[name] = _reachable(missing[name], problems)
    for suffix, (package, extra) in _NEEDED.items():
        if importlib.util.find_spec(package) is not None:
            found[suffix] = "ready", f"read with {package}"
        else:
            project = package.replace("_", "-")
            note = f"pip install {project}, or pip install 'exact-trainer[{extra}]'"
            found[suffix] = "missing", note
    index = pd.Index(list(found), name="name")
    return pd.DataFrame(list(found.values()), index=index, columns=["state", "note"])


def _reachable(files: list[PublishedFile], problems: dict[str, str | None]) -> tuple[str, str]:
    for file in files:
        if (problem := problems[file.address]) is not None:
            return "missing", (
                f"{file.address} cannot be reached ({problem}); put {file.names[0]} into "
                f"{keras_home() / file.folder}, or set {MIRROR}"
            )
    return "downloadable", f"from {', '.join(file.address for file in files)}"
