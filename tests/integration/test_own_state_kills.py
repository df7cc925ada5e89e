"""Trainings with variables, generators and attributes of their own, killed by SIGKILL and resumed.

The trainings are those of `own_states`, run by `own_state_child.py`. By default two kinds are
killed once each, in the middle of an epoch. The full proof kills all 13 kinds so many times each,
at drawn batches, and the last time whatever is going on at a drawn moment; it takes some minutes:

    OWN_STATE_KILLS=3 pytest -n0 -s tests/integration/test_own_state_kills.py

The figures are printed with -s.
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
KILLS = int(os.environ.get("OWN_STATE_KILLS", "0"))
KINDS = list(own_states.KINDS) if KILLS else ["globals", "eager attribute"]
EPOCHS = 3


def _run(kind: str, folder: Path, place: str) -> list[str] | None:
    """Run a training; gives the digests of its end, or None if it was killed."""
    result = folder.with_suffix(".json")
    done = warm.run(CHILD, kind, folder, result, str(EPOCHS), place)
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[str] = json.loads(result.read_text())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_with_state_of_its_own_ends_byte_equal_to_one_that_was_not(
    kind: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(list(own_states.KINDS).index(kind))
    alone = _run(kind, tmp_path / "alone", "never")
    assert alone is not None
    # a state is saved after every second batch of six
    places = [str(rng.integers(3, 6)) for _ in range(max(1, KILLS - 1))]
    places += [f"{rng.uniform(0.5, 2.0):.2f}s"] if KILLS > 1 else []
    folder = tmp_path / "killed"
    found = None
    for place in places:
        found = _run(kind, folder, place)
        assert found is None or place.endswith("s"), "it was over before it was killed"
    assert (found or _run(kind, folder, "never")) == alone, f"killed at {places}"
    log = (folder / "run.log").read_text()
    resumes = log.count("resumes from epoch")
    assert resumes >= max(1, KILLS - 1) and ", step " in log
    print(f"\n{kind}: killed at {places}, {resumes} resumes, 0 differences")
