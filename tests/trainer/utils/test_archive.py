"""The sizes in a file are looked at before anything is unpacked or made."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import mutated
import numpy as np
import psutil
import pytest

from trainer import Classifier, Regressor
from trainer.utils import archive
from trainer.utils.forms import Malformed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype("float32")
NAMES = np.array(["a", "b", "c", "a"] * 2)
MOST = 200 << 20  # bytes that a refused file may take for a moment


class Dense(Classifier):
    units: int = 2
    epochs = 1
    batch_size = 8
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        layers = [keras.layers.Flatten(), keras.layers.Dense(self.units)]
        return keras.Sequential(
            [keras.Input(spec.input_shape), *layers, keras.layers.Dense(spec.n_outputs, "softmax")]
        )


class Unbuilt(keras.Model):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(units, "softmax")

    def call(self, x: Any) -> Any:
        return self.dense(x)


class Subclassed(Dense):
    def build_model(self, spec: Any) -> keras.Model:
        return Unbuilt(spec.n_outputs)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[type, bytes]:
    folder = tmp_path_factory.mktemp("saved")
    found = {}
    for kind in (Dense, Subclassed):
        model = kind(metrics=[]).fit(X, NAMES)
        found[kind] = model.save(folder / "model.keras").read_bytes()
    return found


@pytest.fixture
def content(contents: dict[type, bytes]) -> bytes:
    return contents[Dense]


def refused(path: Path, content: bytes, kind: Any = Dense) -> str:
    """What load says; and it took little memory to say it."""
    path.write_bytes(content)
    process = psutil.Process()
    before = process.memory_info().rss
    with pytest.raises(ValueError) as caught:
        kind.load(path)
    assert str(path) in str(caught.value)
    # what was taken and given back at once shows in the peak, which only Linux tells
    assert process.memory_info().rss - before < MOST
    return str(caught.value)


# ---- members ------------------------------------------------------------------------------------


def test_a_member_that_grows_out_of_proportion_is_not_unpacked(
    content: bytes, tmp_path: Path
) -> None:
    for name in ("trainer.json", "model.weights.h5", "config.json", "assets/more"):
        found = mutated.members(content) | {name: b" " * (64 << 20)}
        packed = mutated.packed(found, compression=zipfile.ZIP_DEFLATED)
        assert len(packed) < 1 << 20
        said = refused(tmp_path / "model.keras", packed)
        assert f"the member {name!r} would grow from" in said


def test_members_that_share_their_bytes_are_not_unpacked(content: bytes, tmp_path: Path) -> None:
    # one piece of data, which the directory lists under many names
    one = mutated.packed({**mutated.members(content), "a": bytes(1 << 20)})
    end = one.rindex(b"PK\5\6")
    start = struct.unpack("<L", one[end + 16 : end + 20])[0]
    entry = one[one.rindex(b"PK\1\2") : end]
    directory = one[start:end]
    for i in range(50):
        directory += entry[:-1] + bytes([ord("b") + i])
    tail = bytearray(one[end:])
    count = struct.unpack("<H", one[end + 8 : end + 10])[0] + 50
    struct.pack_into("<HHL", tail, 8, count, count, len(directory))
    said = refused(tmp_path / "model.keras", one[:start] + directory + bytes(tail))
    assert "larger than the file" in said or "verlap" in said


def test_a_name_that_stands_twice_is_refused(content: bytes, tmp_path: Path) -> None:
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("trainer.json", "{}")
    assert "'trainer.json' is in it twice" in refused(tmp_path / "model.keras", file.getvalue())


def test_a_file_that_somebody_packed_again_still_loads(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(
        mutated.packed(mutated.members(content), compression=zipfile.ZIP_DEFLATED, compresslevel=9)
    )
    assert Dense.load(path).predict(X).shape == (8,)


@pytest.mark.parametrize(
    "text", ["[" * 900 + "]" * 900, "[" * 100_000, '{"a":' * 70 + "1" + "}" * 70]
)
def test_deep_json_is_refused(text: str, content: bytes, tmp_path: Path) -> None:
    found = mutated.members(content) | {"trainer.json": text.encode()}
    assert "nested deeper than 64 levels" in refused(tmp_path / "m.keras", mutated.packed(found))


def test_json_of_a_great_many_values_is_refused(content: bytes, tmp_path: Path) -> None:
    text = ("[" + "{}," * 2_000_000 + "0]").encode()
    found = mutated.members(content) | {"trainer.json": text}
    assert "out of proportion to the file" in refused(tmp_path / "m.keras", mutated.packed(found))


# ---- shapes and types ---------------------------------------------------------------------------

HUGE = 500_000_000


def _shapes(meta: Any) -> None:
    meta["inputs"]["shapes"] = {"leaf": [50_000_000]}


def _rows(meta: Any) -> None:
    meta["inputs"]["shapes"] = {"leaf": [HUGE, HUGE, 3]}


def _units(meta: Any) -> None:
    meta["fields"]["units"] = HUGE


def _labels(meta: Any) -> None:
    meta["targets"]["labels"][0]["classes_dtype"] = "<U9999999"


def _classes(meta: Any) -> None:
    meta["targets"]["labels"][0]["classes"] = list(range(40_000))
    meta["targets"]["labels"][0].update(kind="multiclass", classes_dtype="<i8", dtype="<i8")
    meta["fields"]["units"] = 2_000


def _metric(meta: Any) -> None:
    config = {"num_classes": 50_000}
    made = {"module": "keras.metrics", "class_name": "MeanIoU", "config": config}
    meta["fields"]["metrics"] = [{"keras": {**made, "registered_name": None}}]


def _scaling(meta: Any) -> None:
    meta["inputs"]["scaling"] = {"x": [[0.0] * 9, [1.0] * 9]}


@pytest.mark.parametrize("change", [_shapes, _rows, _units, _labels, _classes, _metric, _scaling])
def test_what_a_file_says_of_sizes_makes_nothing_large(
    change: Callable[[Any], None], content: bytes, tmp_path: Path
) -> None:
    assert "trainer.json: " in refused(tmp_path / "m.keras", mutated.with_json(content, change))


def test_a_model_that_is_built_by_a_call_is_bounded_too(
    contents: dict[type, bytes], tmp_path: Path
) -> None:
    def change(meta: Any) -> None:
        meta["inputs"]["shapes"] = {"leaf": [4_000_000]}

    changed = mutated.with_json(contents[Subclassed], change)
    assert "would be larger than" in refused(tmp_path / "m.keras", changed, Subclassed)


def test_other_threads_and_later_models_are_not_bounded() -> None:
    with archive.variables_within(0, 0):
        with pytest.raises(archive.TooLarge):
            keras.Variable("zeros", shape=(3_000, 1_000))
        keras.Variable("zeros", shape=(3,))
    assert keras.Variable("zeros", shape=(3_000, 1_000)).shape == (3_000, 1_000)


# ---- weights ------------------------------------------------------------------------------------

KERNEL = "layers/dense/vars/0"


def _declared(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, shape=(40_000, 10_000), dtype="f4")


def _packed(file: h5py.File) -> None:
    del file[KERNEL]
    zeros = np.zeros((4_000, 1_000), "f4")
    file.create_dataset(KERNEL, data=zeros, compression="gzip")


def _soft(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/optimizer/vars/1")


def _external(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("other.h5", "/x")


def _outside(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 2), "f4", external=[("/etc/passwd", 0, 24)])


def _virtual(file: h5py.File) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout(shape=(3, 2), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(3, 2))
    file.create_virtual_dataset(KERNEL, layout)


def _text(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = np.array([[b"a", b"b"]] * 3)


def _references(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 2), h5py.ref_dtype)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_declared, "has the shape"),
        (_packed, "packed in a way"),
        (_soft, "is a link to elsewhere"),
        (_external, "is a link to elsewhere"),
        (_outside, "lies in another file"),
        (_virtual, "lies in another file"),
        (_text, "weights are numbers"),
        (_references, "weights are numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_weights_that_are_elsewhere_or_not_there_are_refused(
    change: Callable[[h5py.File], None], said: str, content: bytes, tmp_path: Path
) -> None:
    changed = mutated.with_weights(content, change)
    assert said in refused(tmp_path / "model.keras", changed)


@pytest.mark.parametrize("name", [KERNEL, "layers"])
def test_no_weight_is_left_as_it_was_made(name: str, content: bytes, tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file[name]

    said = refused(tmp_path / "model.keras", mutated.with_weights(content, change))
    assert "the weights in the file do not fit the model that Dense.build_model makes" in said


@pytest.mark.parametrize("name", ["optimizer/vars/1", "optimizer"])
def test_a_part_of_the_optimizers_state_that_is_missing_is_warned_of(
    name: str, content: bytes, tmp_path: Path
) -> None:
    def change(file: h5py.File) -> None:
        del file[name]

    path = tmp_path / "model.keras"
    path.write_bytes(mutated.with_weights(content, change))
    with pytest.warns(UserWarning, match="the file's optimizer state does not fit"):
        Dense.load(path)


def test_the_parts_of_a_whole_file_are_given_back(content: bytes) -> None:
    text, weights = archive.members(content)
    assert json.loads(text)["class"] == "Dense"
    count, size = archive.weights_size(weights)
    assert count == 4 + 10 and size < len(weights)  # Adam has two of each, its steps and its rate
    with pytest.raises(Malformed):
        archive.weights_size(b"no weights")


def test_a_folder_with_no_ordinary_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null.*is not a regular file"):
        Regressor.load("/dev/null")
