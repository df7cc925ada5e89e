"""A saved Trainer: loaded, it predicts the same to the bit; plain Keras opens it too."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Annotated, Any

import h5py
import keras
import mutated
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import warm

from trainer import Classifier, Float, Regressor, Trainer
from trainer.callbacks import CSVFile

ROWS = 40
RNG = np.random.default_rng(0)
X = RNG.normal(loc=2, size=(ROWS, 4)).astype(np.float32)
Y = X[:, 0]
NAMES = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [1.5, 2.5])]
FRAME = pd.DataFrame(
    {
        "n": np.where(RNG.random(ROWS) < 0.2, np.nan, Y),
        "c": pd.Series(RNG.choice(["a", "b", None], size=ROWS), dtype="str"),
        "b": pd.array(RNG.choice([True, False, None], size=ROWS), dtype="boolean"),
        7: np.arange(ROWS),
    }
)
LATER = FRAME.assign(c=["unseen", None] * (ROWS // 2), n=[np.nan, 1.0] * (ROWS // 2))


class Linear(Regressor):
    epochs = 2
    batch_size = 20
    optimizer = "sgd"
    metrics = ()
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs)])


class Labelled(Classifier):
    """A subclass with fields of every type that a file can hold."""

    units: int = 3
    rate: Annotated[float, Float(0.0, 0.9)] = 0.5
    sizes: tuple[int, ...] = (4,)
    names: tuple[Any, ...] = ("a", ("b", None), True)
    table: dict[Any, Any] | None = None
    epochs = 1
    batch_size = 20
    optimizer = "sgd"
    metrics = ()
    normalize = "minmax"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        x = inputs = keras.Input(spec.input_shape)
        for size in self.sizes:
            x = keras.layers.Dropout(self.rate)(keras.layers.Dense(size, "relu")(x))
        return keras.Model(inputs, keras.layers.Dense(spec.n_outputs, spec.output_activation)(x))


class Own(keras.Model):
    """A subclassed model, as people write it: without get_config, with state besides weights."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(8, "relu")
        self.norm = keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(units)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.norm(self.hidden(x), training=training))


class Subclassed(Labelled):
    normalize = "standard"

    def build_model(self, spec: Any) -> keras.Model:
        return Own(spec.n_outputs)


class Doubled(Labelled):
    """Ends in an operation that does not tell whether it gives logits."""

    def build_model(self, spec: Any) -> keras.Model:
        inputs = keras.Input(spec.input_shape)
        return keras.Model(inputs, 2.0 * keras.layers.Dense(1)(inputs))


class TwoByTwo(Linear):
    def build_model(self, spec: Any) -> keras.Model:
        inputs = {k: keras.Input(s, name=k) for k, s in spec.input_shape.items()}
        joined = keras.layers.Concatenate()(list(inputs.values()))
        return keras.Model(
            inputs, {k: keras.layers.Dense(w)(joined) for k, w in spec.n_outputs.items()}
        )


NESTED_X = {"wide": X[:, :1], "deep": X[:, 1:]}
NESTED_Y = {"z": Y, "a": X[:, 1:3]}
FLAGS = (X > 2).astype(np.int64)

CASES: dict[str, tuple[Any, Any, Any, Any]] = {
    "arrays": (Linear(), X, Y, X),
    "the default regressor": (Regressor(model="wide_and_deep", epochs=1), X, 1e5 * Y, X),
    "doubles": (Regressor(model="wide_and_deep", epochs=1), X.astype(float), Y, X),
    "booleans": (Labelled(), X, Y > 2, X),
    "integers with gaps": (Labelled(), X, np.where(Y > 2, 40, -7).astype(np.int16), X),
    "several labels a row": (Labelled(), X, FLAGS, X),
    "one-hot rows": (Labelled(loss="categorical_crossentropy"), X, np.eye(4)[FLAGS.sum(1) % 4], X),
    "a table": (Labelled(), FRAME, NAMES, LATER),
    "a table in mixed precision": (Labelled(precision="mixed_bfloat16"), FRAME, NAMES, LATER),
    "nested inputs and outputs": (TwoByTwo(), NESTED_X, NESTED_Y, NESTED_X),
    "a subclassed model": (Subclassed(), X, NAMES, X),
    "logits that do not show": (Doubled(normalize=None), X, Y > 2, X),
    "mixed precision": (Labelled(precision="mixed_float16"), X, NAMES, X),
}


def leaves(tree: Any) -> list[np.ndarray]:
    return keras.tree.flatten(tree)


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_trainer_predicts_the_same_to_the_bit(case: str, tmp_path: Path) -> None:
    model, x, y, later = CASES[case]
    model.set_params(epochs=1, batch_size=20).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        if case == "a subclassed model":
            with pytest.warns(UserWarning, match=r"plain Keras will not .* no usable get_config"):
                path = model.save(tmp_path / "model.keras")
        else:
            path = model.save(tmp_path / "model.keras")
        loaded = type(model).load(path)
    for method in ("predict", "predict_proba"):
        if hasattr(model, method):
            found, expected = getattr(loaded, method)(later), getattr(model, method)(later)
            for a, b in zip(leaves(found), leaves(expected), strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
    assert repr(loaded) == repr(model)
    assert loaded.history_ == model.history_
    assert loaded.seed_ == model.seed_
    for name in ("n_features_in_", "feature_names_in_", "classes_"):
        assert hasattr(loaded, name) == hasattr(model, name)
        if hasattr(model, name):
            for a, b in zip(
                leaves(getattr(loaded, name)), leaves(getattr(model, name)), strict=True
            ):
                np.testing.assert_array_equal(a, b)


def test_a_loaded_trainer_can_be_evaluated_and_fitted_and_saved_again(tmp_path: Path) -> None:
    model = Labelled(metrics=None).fit(FRAME, NAMES)
    path = model.save(tmp_path / "model.keras")
    loaded = Labelled.load(path)
    assert loaded.evaluate(LATER, NAMES) == model.evaluate(LATER, NAMES)
    assert loaded.score(FRAME, NAMES) == model.score(FRAME, NAMES)
    again = Labelled.load(loaded.save(tmp_path / "again.keras"))
    np.testing.assert_array_equal(again.predict_proba(FRAME), model.predict_proba(FRAME))
    np.testing.assert_array_equal(
        loaded.fit(FRAME, NAMES).predict_proba(FRAME), model.predict_proba(FRAME)
    )


def test_what_the_optimizer_knew_is_in_the_file(tmp_path: Path) -> None:
    model = Linear(optimizer="adam").fit(X, Y)
    loaded = Linear.load(model.save(tmp_path / "model.keras"))
    plain = keras.models.load_model(tmp_path / "model.keras")
    expected = [np.asarray(v) for v in model.model_.optimizer.variables]
    assert int(expected[0]) == 2 * ROWS / 20  # steps
    for optimizer in (loaded.model_.optimizer, plain.optimizer):
        for a, b in zip(optimizer.variables, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_fields_of_every_writable_type_come_back(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 100, 0.9)
    fields: dict[str, Any] = {
        "units": np.int64(5),
        "rate": 0.25,
        "sizes": (3,),
        "names": ("x", ("y", None), [1, (2,)], False),
        "table": {"a": (1, 2), 3: {"b": None}, ("k", 1): "tuple keys too"},
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.5, nesterov=True),
        "learning_rate": schedule,
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=False),
        "metrics": ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top")],
        "class_weight": {"low": 2.0},
        "epochs": 1,
    }
    model = Labelled(**fields).fit(X, NAMES)
    loaded = Labelled.load(model.save(tmp_path / "model.keras"))
    for name in ("units", "rate", "sizes", "names", "table", "class_weight", "epochs"):
        assert getattr(loaded, name) == fields[name]
        assert type(getattr(loaded, name)) is not np.int64
    assert type(loaded.names[1]) is tuple and type(loaded.names[2]) is list
    for name in ("optimizer", "learning_rate", "loss"):
        assert type(getattr(loaded, name)) is type(fields[name])
        assert getattr(loaded, name).get_config() == fields[name].get_config()
    assert loaded.metrics[1].get_config() == fields["metrics"][1].get_config()
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.evaluate(X, NAMES) == model.evaluate(X, NAMES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callbacks", (keras.callbacks.TerminateOnNaN(),)),
        ("loss", lambda y, p: keras.ops.mean((y - p) ** 2, axis=-1)),
        ("metrics", [lambda y, p: keras.ops.mean(y - p)]),
        ("random_state", np.random.RandomState(0)),
    ],
    ids=["callbacks", "loss", "metrics", "random_state"],
)
def test_a_field_that_cannot_be_written_is_named_and_the_rest_is_kept(
    name: str, value: Any, tmp_path: Path
) -> None:
    model = Linear(**{name: value, "learning_rate": 0.01}).fit(X, Y)
    with pytest.warns(UserWarning, match=f"^{name}=.*cannot be written.*will have the default"):
        path = model.save(tmp_path / "model.keras")
    loaded = Linear.load(path)
    assert loaded.learning_rate == 0.01
    assert getattr(loaded, name) == getattr(Linear(), name)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


# ---- what is in the file ---------------------------------------------------------------------


def test_the_file_holds_no_pickle_and_none_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Labelled().fit(FRAME, NAMES)
    path = model.save(tmp_path / "model.keras")
    expected = model.predict_proba(LATER)
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.startswith("assets/")]
        assert sorted(names) == [
            "config.json",
            "metadata.json",
            "model.weights.h5",
            "trainer.json",
        ]
        for name in names:
            content = archive.read(name)
            if name.endswith(".json"):
                json.loads(content)
            with pytest.raises(Exception):  # noqa: B017 - whatever pickle says, it is none
                pickle.loads(content)
        archive.extract("model.weights.h5", tmp_path)

    def only_numbers(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            assert item.dtype.kind in "fiub", name

    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(only_numbers)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something is unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    np.testing.assert_array_equal(Labelled.load(path).predict_proba(LATER), expected)


def test_plain_keras_opens_the_files_in_a_process_without_the_package(tmp_path: Path) -> None:
    frame = FRAME[["n", "c"]]
    cases: dict[str, tuple[Any, Any, Any]] = {
        "regressor": (Regressor(model="wide_and_deep", epochs=1), X, 1e5 * Y),
        "unscaled": (Regressor(model="wide_and_deep", epochs=1), {"wide": IDS, "deep": IDS}, Y),
        "nested": (TwoByTwo(), NESTED_X, NESTED_Y),
        "table": (Labelled(), frame, NAMES),
        "mixed": (Labelled(precision="mixed_bfloat16"), X, NAMES),
    }
    for name, (model, x, y) in cases.items():
        model.fit(x, y).save(tmp_path / f"{name}.keras")
        if name == "table":
            x = {"n": frame[["n"]].to_numpy(), "c": frame[["c"]].fillna("[missing]").to_numpy()}
            x["c"] = x["c"].astype(str)
        found = model.model_(keras.tree.map_structure(tf.constant, x))
        arrays = {f"x_{k}": v for k, v in (x if isinstance(x, dict) else {"": x}).items()}
        named = found if isinstance(found, dict) else {"": found}
        arrays |= {f"p_{k}": np.asarray(v).astype(np.float32) for k, v in named.items()}
        np.savez(tmp_path / f"{name}.npz", **arrays)
    script = """
import sys, warnings
import keras, numpy as np, tensorflow as tf
warnings.simplefilter("error")
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras")
    saved = np.load(f"{name}.npz")
    x = {k[2:]: tf.constant(saved[k]) for k in saved if k.startswith("x_")}
    found = model(x if len(x) > 1 else x[""])
    for k, v in (found if isinstance(found, dict) else {"": found}).items():
        np.testing.assert_array_equal(np.asarray(v).astype(np.float32), saved[f"p_{k}"], name)
assert not any(m.split(".")[0] == "trainer" for m in sys.modules)
"""
    done = warm.run(script, *cases, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


IDS = RNG.integers(0, 9, size=(ROWS, 2))


def test_the_file_holds_no_row_of_the_data(tmp_path: Path) -> None:
    marks = np.array([123456.789, 98765.4321])
    x = np.r_[np.c_[marks, marks], X[:, :2]].astype(np.float64)
    path = Linear(normalize=None).fit(x, np.zeros(len(x))).save(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(n) for n in archive.namelist())
    for mark in marks:
        assert str(mark).encode() not in content
        assert np.float32(mark).tobytes() not in content
        assert np.float64(mark).tobytes() not in content


# ---- writing it whole or not at all ----------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_old_file_stays_whole_when_the_disk_is_full(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Linear().fit(X, Y), Linear(epochs=1).fit(X, -Y)
    path = old.save(tmp_path / "model.keras")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(OSError, match=r"model\.keras.*No space left"):
            new.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    np.testing.assert_array_equal(Linear.load(path).predict(X), old.predict(X))
    new.save(path)
    np.testing.assert_array_equal(Linear.load(path).predict(X), new.predict(X))


def test_saving_leaves_the_trainer_as_it_was(tmp_path: Path) -> None:
    model = Labelled().fit(FRAME, NAMES)
    before = model.predict_proba(LATER)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict_proba(LATER), before)
    assert model.model_.optimizer is model._network.core.optimizer


def test_a_trainer_that_is_not_fitted_cannot_be_saved(tmp_path: Path) -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        Linear().save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_class_is_refused_with_the_right_one(tmp_path: Path) -> None:
    path = Linear(epochs=1).fit(X, Y).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"was saved by Linear, not Labelled; write Linear\.load"):
        Labelled.load(path)


def test_a_model_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    path = Linear(epochs=1).fit(X, Y).save(tmp_path / "model.keras")

    def build(spec: Any) -> keras.Model:
        hidden = keras.layers.Dense(7)
        return keras.Sequential([keras.Input(spec.input_shape), hidden, keras.layers.Dense(1)])

    changed = type("Linear", (Linear,), {"build_model": lambda self, spec: build(spec)})
    with pytest.raises(ValueError, match=r"do not fit the model that Linear\.build_model makes"):
        changed.load(path)


def test_a_plain_trainer_with_a_loss_of_its_own_is_saved(tmp_path: Path) -> None:
    class Contracting(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(4)])

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return keras.ops.mean((x - y_pred) ** 2)

    model = Contracting(epochs=1).fit(X)
    loaded = Contracting.load(model.save(tmp_path / "model.keras"))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.evaluate(X) == model.evaluate(X)


# ---- where things are is nobody else's ---------------------------------------------------------


class Reading(Linear):
    """A Trainer with a path of its own."""

    PATHS = ("words",)
    words: str | None = None


def test_no_path_is_saved(tmp_path: Path) -> None:
    plugins = [
        {"name": "checkpoint", "folder": str(tmp_path / "kept"), "keep": 2},
        CSVFile(path=tmp_path / "epochs.csv"),
        "early_stopping",
    ]
    model = Reading(run_dir=tmp_path / "run", words="/home/me/words.txt", callbacks=plugins)
    path = model.fit(X, Y, validation_data=(X, Y)).save(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        assert str(tmp_path) not in archive.read("trainer.json").decode()
        assert b"words.txt" not in archive.read("trainer.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = Reading.load(path)
    assert loaded.run_dir is None and loaded.words is None
    assert loaded.callbacks == [
        {"name": "checkpoint", "keep": 2},
        {"name": "csv"},
        "early_stopping",
    ]


def test_a_path_in_a_file_of_an_earlier_version_is_not_taken(tmp_path: Path) -> None:
    content = Reading().fit(X, Y).save(tmp_path / "model.keras").read_bytes()
    specs = [
        ("checkpoint", "folder"),
        ("csv", "path"),
        ("tensorboard", "log_dir"),
        ("image_predictions", "folder"),
        ("mlflow", "tracking_uri"),
    ]

    def change(meta: Any) -> None:
        forms = [{"dict": [["name", n], [f, "/elsewhere"]]} for n, f in specs]
        forms.append({"dict": [["name", "checkpoint"], ["folder", None]]})
        meta["fields"] |= {"run_dir": "/elsewhere", "words": "/elsewhere", "callbacks": forms}

    path = tmp_path / "old.keras"
    path.write_bytes(mutated.with_json(content, change))
    with pytest.warns(UserWarning) as caught:
        loaded = Reading.load(path)
    said = [str(w.message) for w in caught]
    assert len(said) == len(specs) and all("old.keras" in text for text in said)
    for text, (name, field) in zip(said, specs, strict=True):
        assert f"the callback {name!r} has {field}='/elsewhere'" in text
    assert loaded.run_dir is None and loaded.words is None
    assert loaded.callbacks == [{"name": n} for n, _ in specs] + [{"name": "checkpoint"}]


# ---- what is malformed is one error, with the path and the entry --------------------------------


def _set(*keys: Any, to: Any) -> Any:
    def change(meta: Any) -> None:
        for key in keys[:-1]:
            meta = meta[key]
        meta[keys[-1]] = to

    return change


MALFORMED: dict[str, Any] = {
    "inputs is None": _set("inputs", to=None),
    "fields is [": _set("fields", to=[]),
    "format is 'x'": _set("format", to="x"),
    "format is True": _set("format", to=True),
    "batch_size=-5": _set("fields", "batch_size", to=-5),
    "epochs=nan": _set("fields", "epochs", to=float("nan")),
    "validation_split=2": _set("fields", "validation_split", to=2),
    "seed is -1": _set("seed", to=-1),
    "seed is 1e+99": _set("seed", to=1e99),
    "random_state is -1": _set("fields", "random_state", to=-1),
    "precision is 'float8'": _set("precision", to="float8"),
    "history": _set("history", to={"records": [{"epoch": "1"}]}),
    "history:": _set("history", to=[]),
    "inputs: shapes is 4": _set("inputs", "shapes", "leaf", to=4),
    "inputs: shapes is -4": _set("inputs", "shapes", "leaf", to=[-4]),
    "inputs: dtypes is 'complex64'": _set("inputs", "dtypes", "leaf", to="complex64"),
    "inputs: scaling is 'y'": _set("inputs", "scaling", to={"y": [0, 1]}),
    "inputs: scaling: x is nan": _set("inputs", "scaling", "x", to=[float("nan"), 1]),
    "inputs: scaling: x is 0": _set("inputs", "scaling", "x", to=[0, 0]),
    "inputs: table: columns": _set("inputs", "table", to={"columns": []}),
    "inputs: names": _set("inputs", "names", to=["a"]),
    "targets: kind": _set("targets", "kind", to="none"),
    "targets: outputs is 0": _set("targets", "outputs", to=[["", 0]]),
    "targets: flat": _set("targets", "flat", to=[None]),
    "targets: structure": _set("targets", "structure", to={"dict": []}),
    "targets: scale is inf": _set("targets", "scale", to=[[float("inf")], [1.0]]),
    "not JSON": None,
    "callbacks: a callback is 5": _set("fields", "callbacks", to=[5]),
    "no plugin 'none'": _set("fields", "callbacks", to=["none"]),
    "has 'more'": _set("more", to=1),
    "a value is {'what': 1}": _set("fields", "loss", to={"what": 1}),
    "excluding lacks 'weights'": _set("fields", "optimizer", to={"excluding": {"of": "adam"}}),
    "weights is '^(a+)+$'": _set(
        "fields", "optimizer", to={"excluding": {"of": "adam", "weights": [["^(a+)+$", []]]}}
    ),
    "weights is 3; it must be": _set(
        "fields", "optimizer", to={"excluding": {"of": "adam", "weights": [[None, [3]]]}}
    ),
    "freezing is 'adam'; it must be a model": _set(
        "fields", "optimizer", to={"freezing": {"of": "adam", "weights": []}}
    ),
    "excluding: ": _set(
        "fields", "optimizer", to={"excluding": {"of": "adam", "weights": [["bias", []]]}}
    ),
    "a pair is [1]": _set("fields", "class_weight", to={"dict": [[1]]}),
    "a key is [1]": _set("fields", "class_weight", to={"dict": [[[1], 1]]}),
    "which is not valid text": _set("fields", "loss", to="\ud800"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Linear().fit(X, Y).save(tmp_path_factory.mktemp("m") / "m.keras").read_bytes()


@pytest.mark.parametrize("said", MALFORMED)
def test_a_malformed_entry_is_one_error_that_names_it(
    said: str, saved: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    change = MALFORMED[said]
    content = mutated.members(saved) | {"trainer.json": b"{"}
    path.write_bytes(
        mutated.packed(content) if change is None else mutated.with_json(saved, change)
    )
    with pytest.raises(ValueError) as caught:
        Linear.load(path)
    text = str(caught.value)
    assert text.startswith(f"path={str(path)!r}: trainer.json: ") and said in text
    assert text.endswith("save it again, or copy it again from an intact file")
    assert "\n" not in text and len(text) < 1_000


@pytest.mark.parametrize(
    "key", ["format", "class", "fields", "seed", "precision", "inputs", "targets", "history"]
)
def test_an_entry_that_is_not_there_is_named(key: str, saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(mutated.with_json(saved, lambda meta: {k: meta[k] for k in meta if k != key}))
    with pytest.raises(ValueError, match=rf"trainer\.json: its content lacks '{key}'"):
        Linear.load(path)


def test_a_file_of_a_later_version_is_named(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(mutated.with_json(saved, _set("format", to=99)))
    with pytest.raises(ValueError, match=r"has format 99, and this version reads up to 1; install"):
        Linear.load(path)


def test_fields_that_build_model_cannot_use_are_one_error(saved: bytes, tmp_path: Path) -> None:
    content = Labelled().fit(X, NAMES).save(tmp_path / "model.keras").read_bytes()
    path = tmp_path / "model.keras"
    for name, value in (("sizes", 5), ("rate", "x"), ("sizes", {"tuple": [-3]})):
        path.write_bytes(mutated.with_json(content, _set("fields", name, to=value)))
        with pytest.raises(ValueError, match=r"path='.*Labelled cannot be rebuilt from the"):
            Labelled.load(path)


def test_weights_load_with_a_warning_where_the_optimizers_state_does_not_fit(tmp_path):
    x, y = np.zeros((8, 2), np.float32), np.arange(8) % 2
    averaged = Classifier(epochs=1, callbacks=["ema"], random_state=0, verbose=0).fit(x, y)
    path = averaged.save(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(parts["trainer.json"])
    meta["fields"]["callbacks"] = {"tuple": []}  # as where a callback cannot be written to a file
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (parts | {"trainer.json": json.dumps(meta).encode()}).items():
            archive.writestr(name, content)
    with pytest.warns(UserWarning, match="the file's optimizer state does not fit"):
        loaded = Classifier.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(x), averaged.predict_proba(x))


@pytest.mark.parametrize("mode", ["r+b", "rb"])
def test_a_file_is_never_written_without_its_weights(mode, tmp_path, monkeypatch):
    fitted = Classifier(epochs=1, random_state=0, verbose=0)
    fitted.fit(np.zeros((8, 2), np.float32), np.arange(8) % 2)
    opened, failed = io.open, []

    def fails_once(file, how="r", *args, **options):
        # as zipfile opens the model that Keras wrote, to add an entry to it
        if str(file).endswith("model.keras") and how == mode and not failed:
            failed.append(how)
            raise OSError(errno.EIO, "Input/output error", str(file))
        return opened(file, how, *args, **options)

    monkeypatch.setattr(io, "open", fails_once)
    path = tmp_path / "saved.keras"
    try:
        fitted.save(path)
    except OSError as error:
        assert str(path) in str(error) and not path.exists()
    else:
        assert Classifier.load(path).history_ == fitted.history_


def test_an_empty_path_is_refused() -> None:
    model = Regressor(model="mlp", epochs=1).fit(X, Y)
    with pytest.raises(TypeError, match="path='': must be the name of a file, such as 'model.ker"):
        model.save("")


@pytest.mark.parametrize("given", [False, True], ids=["fields", "a compiled model"])
def test_a_file_has_the_arguments_that_keras_leaves_out_of_configs(
    given: bool, tmp_path: Path
) -> None:
    parts = {"loss": keras.losses.Huber(0.2), "metrics": [keras.metrics.CosineSimilarity(axis=0)]}
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    if given:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", **parts)
        trainer = Regressor.from_keras(model, epochs=1, verbose=0, batch_size=16)
    else:
        trainer = Regressor(**parts, epochs=1, verbose=0, batch_size=16)
    trainer.fit(x, 20 * x[:, 0]).save(tmp_path / "model.keras")
    loaded = Regressor.load(tmp_path / "model.keras")
    expected, found = (t.evaluate(x, 20 * x[:, 0]) for t in (trainer, loaded))
    assert found == pytest.approx(expected, rel=1e-6)


# ---- functions of one's own in Keras' objects --------------------------------------------------


def scaled(y: Any, p: Any) -> Any:
    return 100 * keras.ops.mean(keras.ops.abs(y - p), axis=-1)


def named(name: str, factor: float = 100.0) -> Any:
    def function(y: Any, p: Any) -> Any:
        return factor * keras.ops.mean(keras.ops.abs(y - p), axis=-1)

    function.__name__ = name
    return function


@pytest.mark.parametrize("name", ["huber", "scaled"])
@pytest.mark.parametrize(
    "fields",
    [
        lambda f: {"metrics": [keras.metrics.MeanMetricWrapper(f, name="m")]},
        lambda f: {"metrics": ({"output": [keras.metrics.MeanMetricWrapper(f, name="m")]},)},
        lambda f: {"loss": type(keras.losses.Huber()).__base__(f)},  # LossFunctionWrapper
    ],
    ids=["metrics", "metrics_in_a_dict", "loss"],
)
def test_a_function_with_the_name_of_another_is_not_loaded_as_that(
    fields: Any, name: str, tmp_path: Path
) -> None:
    values = fields(named(name))
    fitted = Linear(epochs=1).fit(X, Y)
    fitted.set_params(**values)
    (field,) = values
    with pytest.warns(UserWarning, match=f"^{field}=.*cannot be written.*evaluate computes that"):
        path = fitted.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=f"has no {field}, .*evaluate computes that"):
        loaded = Linear.load(path)
    assert getattr(loaded, field) == getattr(Linear(), field)


def test_a_function_that_is_the_default_of_the_class_is_no_news_when_it_is_loaded(
    tmp_path: Path,
) -> None:
    class Own(Linear):
        loss: Any = staticmethod(scaled)

    fitted = Own(epochs=1).fit(X, Y)
    with pytest.warns(UserWarning, match=r"^loss=.*cannot be written"):
        path = fitted.save(tmp_path / "model.keras")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        loaded = Own.load(path)
    assert not [str(w.message) for w in said if "has no loss" in str(w.message)]
    assert loaded.evaluate(X, Y) == fitted.evaluate(X, Y)


def test_two_functions_of_one_name_are_not_loaded_as_one(tmp_path: Path) -> None:
    metrics = [
        keras.metrics.MeanMetricWrapper(named("mine", factor), name=f"m{factor:g}")
        for factor in (1.0, 2.0)
    ]
    model = Linear(epochs=1, metrics=metrics).fit(X, Y)
    with pytest.warns(UserWarning, match=r"^metrics=.*cannot be written"):
        model.save(tmp_path / "model.keras")


@pytest.mark.parametrize("function", [lambda y, p: y - p, Path("x").is_relative_to])
def test_lambdas_and_methods_in_a_metric_are_not_written(function: Any, tmp_path: Path) -> None:
    model = Linear(epochs=1).fit(X, Y)
    model.set_params(metrics=[keras.metrics.MeanMetricWrapper(function, name="m")])
    with pytest.warns(UserWarning, match=r"^metrics=.*cannot be written"):
        model.save(tmp_path / "model.keras")


def test_a_function_of_the_module_in_a_metric_comes_back(tmp_path: Path) -> None:
    metrics = [
        keras.metrics.MeanMetricWrapper(scaled, name="m"),
        keras.metrics.MeanMetricWrapper(keras.losses.huber, name="h"),
    ]
    model = Linear(epochs=1, metrics=metrics).fit(X, Y)
    path = model.save(tmp_path / "model.keras")
    assert Linear.load(path).evaluate(X, Y) == model.evaluate(X, Y)


def test_an_own_function_that_is_not_passed_is_named_with_the_remedy(tmp_path: Path) -> None:
    metrics = [keras.metrics.MeanMetricWrapper(scaled, name="m")]
    model = Regressor(epochs=1, metrics=metrics).fit(X, Y)
    path = model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"custom_objects=\{'scaled': scaled\}") as caught:
        Regressor.load(path)
    assert "does not write that" not in str(caught.value)
    loaded = Regressor.load(path, custom_objects={"scaled": scaled})
    assert loaded.evaluate(X, Y) == model.evaluate(X, Y)


def test_an_activation_with_a_name_of_keras_is_not_loaded_as_that_of_keras(tmp_path: Path) -> None:
    layers = [keras.Input((4,)), keras.layers.Dense(1, activation=lambda x: -x)]
    layers[1].activation.__name__ = "relu"
    model = Regressor.from_keras(keras.Sequential(layers), epochs=1).fit(X, Y)
    with pytest.warns(UserWarning, match="load will not be able to open the file, as model=.*relu"):
        model.save(tmp_path / "model.keras")
