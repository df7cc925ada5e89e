"""Files with anything changed in them: a working object, or one error that names the path.

The changes are drawn from seeds. TRAINER_MUTATIONS says how many files are tried; a run of some
thousands is part of a release.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import mutated
import mutated_models
import numpy as np
import pytest
import warm

from trainer.data.arrays import is_shape

MUTATIONS = int(os.environ.get("TRAINER_MUTATIONS", "60"))
FIRST = int(os.environ.get("TRAINER_MUTATIONS_FIRST", "0"))
MOST_MEMORY = 1.5  # of what loading the unchanged file takes
LARGE = 1e6  # with numbers beyond it, predictions may be infinite and right


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Any, bytes]]:
    """Classes with data to predict, and the files."""
    folder = tmp_path_factory.mktemp("saved")
    found = []
    for model, x, y in mutated_models.saved():
        content = model.fit(x, y).save(folder / "model.keras").read_bytes()
        found.append((type(model), x, content))
    return found


def changed(content: bytes, seed: int) -> bytes:
    """The change of a seed; the next seed's where that one's cannot be written."""
    while True:
        try:
            return mutated.change_archive(content, random.Random(seed))
        except (ValueError, TypeError, OverflowError, KeyError, OSError):
            seed += 1_000_003  # a text or number that JSON or HDF5 has no form for


def moderate(loaded: Any) -> bool:
    weights = [np.abs(w).max(initial=0) for w in loaded.model_.get_weights() if w.dtype != object]
    said = json.dumps([loaded._network.inputs.to_dict(), loaded._network.targets.to_dict()])
    numbers = [v for h, k in mutated.places(json.loads(said)) if isinstance(v := h[k], float)]
    return all(np.isfinite(w) and w < LARGE for w in weights) and all(
        1 / LARGE < abs(n) < LARGE or n == 0 for n in numbers
    )


def check_that_it_works(loaded: Any, x: Any) -> None:
    inputs = loaded._network.inputs
    if inputs.table is not None:
        columns = {"number": 1.5, "category": "u"}
        x = {c["name"]: [columns[c["kind"]]] * 4 for c in inputs.table.columns}
        x = mutated_models.pd.DataFrame(x)
    elif not is_shape(inputs.shapes):
        return  # a structure of inputs, which the model took
    else:
        x = np.zeros((4, *(d or 1 for d in inputs.shapes)), inputs.dtypes)
    found = loaded.predict(x)
    assert len(found) == 4
    if moderate(loaded) and found.dtype.kind == "f":
        assert np.isfinite(found).all()
    assert len(loaded.history_.frame) == len(loaded.history_)


def test_a_changed_file_loads_or_is_one_error_that_names_the_path(
    saved: list[tuple[Any, Any, bytes]], tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    outcomes = {"works": 0, "refused": 0}
    for seed in range(FIRST, FIRST + MUTATIONS):
        kind, x, content = saved[seed % len(saved)]
        path.write_bytes(changed(content, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                loaded = kind.load(path)
            except (ValueError, OSError) as error:
                assert str(path) in str(error), f"seed {seed}: {error}"
                assert "\n" not in str(error) and "\x1b" not in str(error), f"seed {seed}"
                outcomes["refused"] += 1
                continue
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
            check_that_it_works(loaded, x)
            outcomes["works"] += 1
    print(outcomes)
    assert sum(outcomes.values()) == MUTATIONS and outcomes["refused"] > MUTATIONS / 3


def test_a_changed_run_resumes_or_is_one_error_that_names_the_path(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    files = mutated_models.unfinished(folder)
    states = [name for name in files if name.suffix == ".safetensors"]
    assert len(states) == 2
    outcomes = {"works": 0, "refused": 0}
    count = max(1, MUTATIONS // 3)
    for seed in range(FIRST, FIRST + count):
        draw = random.Random(seed)
        shutil.rmtree(folder)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        change_a_file(folder, files, draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                x, y = mutated_models.X, mutated_models.Y
                found = mutated_models.resumed(folder).fit(x, y, validation_data=(x, y))
            except (ValueError, OSError) as error:
                assert str(folder) in str(error), f"seed {seed}: {error}"
                outcomes["refused"] += 1
                continue
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
            assert found.predict(x).shape == y.shape, seed
            outcomes["works"] += 1
    print(outcomes)
    assert sum(outcomes.values()) == count


def change_a_file(folder: Path, files: dict[Path, bytes], draw: random.Random) -> None:
    names = [n for n in sorted(files) if n.suffix in (".json", ".csv", ".safetensors")]
    name = draw.choice([*names, Path("config.json")])
    states = [n for n in sorted(files) if n.suffix == ".safetensors"]
    while True:
        seed = draw.random()
        try:
            if name in states:
                # mostly both, or the other one is used
                for each in states if draw.random() < 0.8 else [name]:
                    content = mutated.change_state(files[each], random.Random(seed))
                    (folder / each).write_bytes(content)
            elif name.suffix == ".json" and draw.random() < 0.8:
                value = mutated.change_json(json.loads(files[name]), random.Random(seed))
                (folder / name).write_text(json.dumps(value))
            else:
                (folder / name).write_bytes(mutated.change_bytes(files[name], draw))
        except (ValueError, TypeError, OverflowError):
            continue  # a text or number that JSON has no form for
        return


PEAKS = """
import os, sys, warnings
sys.path.insert(0, sys.argv[1])
import mutated_models  # loads libraries, and uses none: a fork may do that
kinds, paths = sys.argv[2].split(","), sys.argv[3:]
for kind, path in zip(kinds, paths):
    child = os.fork()
    if not child:
        warnings.simplefilter("ignore")
        try:
            getattr(mutated_models, kind).load(path)
        except (ValueError, OSError):
            os._exit(1)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, flush=True)
"""


def test_no_file_takes_much_more_memory_than_a_whole_one(
    saved: list[tuple[Any, Any, bytes]], tmp_path: Path
) -> None:
    """Each is loaded in a process of its own, whose peak the system tells."""
    kinds, paths = [], []

    def add(kind: type, content: bytes) -> None:
        kinds.append(kind.__name__)
        paths.append(tmp_path / f"{len(paths)}.keras")
        paths[-1].write_bytes(content)

    for kind, _, content in saved:
        add(kind, content)
    numbers, _, content = saved[0]
    bombs: list[Any] = [
        lambda meta: meta["inputs"].update(shapes={"leaf": [100_000_000]}, scaling={}),
        lambda meta: meta["inputs"].update(shapes={"leaf": [10_000, 10_000, 3]}, scaling={}),
        lambda meta: meta["fields"].update(units=1_000_000_000),
        lambda meta: meta["fields"].update(sizes={"tuple": [60_000] * 9}),
        lambda meta: meta["history"].update(records=[{}] * 1_000_000),
        lambda meta: meta.update(seed=[[]] * 2_000_000),
    ]
    for bomb in bombs:
        add(numbers, mutated.with_json(content, bomb))
    packed = mutated.members(content) | {"trainer.json": b"[" + b"{}," * 100_000_000 + b"0]"}
    add(numbers, mutated.packed(packed, compression=8, compresslevel=1))
    for seed in range(FIRST, FIRST + MUTATIONS // 20):
        kind, _, content = saved[seed % len(saved)]
        add(kind, changed(content, seed))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    folder = Path(mutated.__file__).parent
    done = warm.run(PEAKS, folder, ",".join(kinds), *paths, cwd=tmp_path, env=environment)
    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(lines) == len(paths), done.stderr[-3_000:]
    whole = max(peak for code, peak in lines[: len(saved)])
    assert [code for code, _ in lines[: len(saved)]] == [0, 0], done.stderr[-3_000:]
    assert {code for code, _ in lines} <= {0, 1}, done.stderr[-3_000:]
    assert [code for code, _ in lines[2 : 3 + len(bombs)]] == [1] * (1 + len(bombs))
    print(f"a whole file {whole / 1024:.0f} MB, the largest {max(p for _, p in lines) / 1024:.0f}")
    for path, (_, peak) in zip(paths, lines, strict=True):
        assert peak <= MOST_MEMORY * whole, (path.name, peak, whole)
