"""Files of ours with something changed in them, and their checksums made right again.

Responsible for the changes. Not for what is expected of whoever opens the file.
"""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

# What may stand in the place of any value of JSON.
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        -5,
        99,
        2**31,
        2**63,
        2**70,
        10**400,
        1e308,
        -0.0,
        0.5,
        1e-300,
    ),
    *(float("nan"), float("inf"), "", "x", "x" * 5_000, "../../x", "/etc/passwd", "\x1b[2J", "é"),
    *("float32", "<U9999999", "<i8", "NaN", "\ud800", "a\0b", "mse", "adam", "checkpoint"),
    *([], {}, [[]], [{}], [None], [1, 2], [-1], [10**9], ["a", "a"], {"a": 1}, {"leaf": [4]}),
    *({"tuple": []}, {"dict": []}, {"dict": [[[], 1]]}, {"keras": None}, {"keras": {}}),
    {"keras": {"module": "os", "class_name": "system", "config": {}, "registered_name": None}},
    {"keras": {"module": "keras.layers", "class_name": "Lambda", "config": {}}},
    {"class_name": "__lambda__", "config": {"value": "x"}},
]


def members(content: bytes) -> dict[str, bytes]:
    """The members of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(found: dict[str, bytes], **options: Any) -> bytes:
    """An archive of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_json(content: bytes, change: Callable[[Any], Any], name: str = "trainer.json") -> bytes:
    """A .keras file whose JSON is changed in place, or is what `change` returns."""
    found = members(content)
    value = json.loads(found[name])
    changed = change(value)
    found[name] = json.dumps(value if changed is None else changed).encode()
    return packed(found)


def with_weights(content: bytes, change: Callable[[h5py.File], Any]) -> bytes:
    """A .keras file whose weights are changed in place."""
    found = members(content)
    file = io.BytesIO(found["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        change(weights)
    found["model.weights.h5"] = file.getvalue()
    return packed(found)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a value of JSON: the container and the key or index."""
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield value, key
        yield from places(value[key])


def change_json(value: Any, draw: random.Random) -> Any:
    """A copy of a value with one to three places changed."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        found = list(places(value))
        if not found:
            return draw.choice(ODD)
        holder, key = draw.choice(found)
        old = holder[key]
        act = draw.randrange(8)
        if act == 0:
            del holder[key]
        elif act == 1 and isinstance(holder, dict):
            holder[draw.choice(("x", "class_name", "path", str(key) + "_"))] = draw.choice(ODD)
        elif act == 2 and isinstance(holder, list):
            holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(draw.choice(holder)))
        elif act == 3:
            holder[key] = copy.deepcopy(draw.choice([h[k] for h, k in found]))
        elif act == 4 and isinstance(old, (int, float)):
            holder[key] = draw.choice((-old, old + 1, old * 1_000, old / 3, float(old), str(old)))
        elif act == 5:
            for _ in range(draw.choice((2, 70, 400))):
                holder[key] = [holder[key]]
            break  # the helpers here are recursive too
        else:
            holder[key] = copy.deepcopy(draw.choice(ODD))
    return value


def change_bytes(content: bytes, draw: random.Random) -> bytes:
    """Bits turned, a piece cut out, doubled or made zero, or the end cut off."""
    if not content:
        return b"\0"
    changed = bytearray(content)
    start = draw.randrange(len(changed))
    end = min(len(changed), start + draw.choice((1, 4, 8, 64, 512)))
    act = draw.randrange(6)
    if act == 0:
        del changed[start:]
    elif act == 1:
        del changed[start:end]
    elif act == 2:
        changed[start:start] = changed[start:end]
    elif act == 3:
        changed[start:end] = draw.choice((b"\0", b"\xff")) * (end - start)
    else:
        for _ in range(draw.choice((1, 1, 2, 8, 64))):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def change_weights(file: h5py.File, draw: random.Random) -> None:
    """One array of a file of weights removed, of another shape or type, a link, or a bomb."""
    names: list[str] = []
    file.visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
    name = draw.choice(sorted(names))
    array = np.asarray(file[name])
    act = draw.randrange(9)
    del file[name]
    if act == 1:
        file[name] = np.zeros((*array.shape, 2), array.dtype)
    elif act == 2:
        file[name] = array.astype(draw.choice(("float64", "int8", "float16", "uint64")))
    elif act == 3:
        file[name] = np.array([b"text"] * max(1, array.size))
    elif act == 4:
        file[name] = h5py.SoftLink("/" + draw.choice(sorted(names)))
    elif act == 5:
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")
    elif act == 6:
        shape = tuple(100_000 for _ in array.shape) or (10**9,)
        file.create_dataset(name, shape=shape, dtype=array.dtype)
    elif act == 7:
        file.create_dataset(
            name, shape=(10**9,), chunks=(10**6,), dtype="f4", compression="gzip", fillvalue=1
        )
    elif act == 8:
        layout = h5py.VirtualLayout(shape=array.shape or (1,), dtype=array.dtype)
        file.create_virtual_dataset(name, layout)


def change_archive(content: bytes, draw: random.Random) -> bytes:
    """A .keras file with a change of any kind; checksums are right unless they are the change."""
    act = draw.randrange(10)
    if act < 5:
        return with_json(content, lambda value: change_json(value, draw))
    if act < 6:
        return change_bytes(content, draw)
    if act < 7:
        return with_weights(content, lambda file: change_weights(file, draw))
    found = members(content)
    if act < 8:
        found["model.weights.h5"] = change_bytes(found["model.weights.h5"], draw)
        return packed(found)
    if act < 9:
        found["trainer.json"] = change_bytes(found["trainer.json"], draw)
        return packed(found)
    names = sorted(found)
    one, other = draw.choice(names), draw.choice(names)
    found[one], found[other] = found[other], found[one]
    if draw.random() < 0.5:
        del found[draw.choice(names)]
    if draw.random() < 0.3:
        found[draw.choice(("../x", "/x", "a/../../x", "assets/x", "C:x"))] = b"x"
    return packed(found, compression=draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def change_state(content: bytes, draw: random.Random) -> bytes:
    """A state file of a run with a change of any kind; its checksum is right unless it is that."""
    from trainer.state.state_file import from_bytes, to_bytes

    act = draw.randrange(10)
    if act < 2:
        return change_bytes(content, draw)
    values, tensors = from_bytes(content)
    if act < 8:
        values = change_json({"format": 1, "forms": {}, **values}, draw)
        return to_bytes(values if isinstance(values, dict) else {}, tensors)
    name = draw.choice(sorted(tensors))
    array = tensors.pop(name)
    if act == 8:
        tensors[name] = array.reshape(-1)[: draw.randrange(array.size + 1)]
    elif draw.random() < 0.7:
        tensors[name] = array.astype(draw.choice(("int8", "float64", "uint8", "bool")))
    return to_bytes(values, tensors)
