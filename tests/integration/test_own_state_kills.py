"""Trainings with variables, generators and attributes of their own, killed by SIGKILL and resumed.

The trainings are those of `own_states`, run by `own_state_child.py`. By default two kinds are
killed once each, in the middle of an epoch. The full proof kills all kinds, at chosen batches and
at times that are drawn, and takes some minutes:

    OWN_STATE_RESUMES=30 pytest -n0 -s tests/integration/test_own_state_kills.py

OWN_STATE_RESUMES is the least number of resumes that must come about. The figures are printed
with -s.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import own_states
import pytest
import warm

CHILD = Path(__file__).with_name("own_state_child.py")
RESUMES = int(os.environ.get("OWN_STATE_RESUMES", "0"))
FEW = ("globals", "eager attribute")


def _run(kind: str, folder: Path, epochs: int, place: str) -> list[str] | None:
    """Run a training; gives the digests of its end, or None if it was killed."""
    result = folder.with_suffix(".json")
    done = warm.run(CHILD, kind, folder, result, str(epochs), place)
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[str] = json.loads(result.read_text())
    return found


def _resumes(folder: Path) -> int:
    return (folder / "run.log").read_text().count("goes on from epoch")


@pytest.mark.slow
def test_a_killed_training_with_state_of_its_own_ends_byte_equal_to_one_that_was_not(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    kinds = list(own_states.KINDS) if RESUMES else FEW
    resumes = dict.fromkeys(kinds, 0)
    for kind in kinds:
        alone = _run(kind, tmp_path / f"{kind} alone", 2, "never")
        assert alone is not None
        folder = tmp_path / f"{kind} killed"
        # a state is saved after every second batch of six
        places = [str(rng.integers(3, 6)) for _ in range(2)] if RESUMES else ["3"]
        for place in places:
            assert _run(kind, folder, 2, place) is None, "it was over before it was killed"
        assert _run(kind, folder, 2, "never") == alone, f"{kind}, killed after {places} batches"
        assert _resumes(folder) == len(places)
        assert ", step " in (folder / "run.log").read_text()
        resumes[kind] += len(places)
        if RESUMES:
            alone = _run(kind, tmp_path / f"{kind} longer", 4, "never")
            folder = tmp_path / f"{kind} killed at any time"
            while (found := _run(kind, folder, 4, f"{rng.uniform(0.5, 2.5):.2f}s")) is None:
                pass
            assert found == alone, f"{kind}, killed at any time"
            resumes[kind] += _resumes(folder)
    assert sum(resumes.values()) >= RESUMES
    print(f"\n{sum(resumes.values())} resumes: {resumes}; 0 differences")
