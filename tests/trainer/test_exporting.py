"""Exported models: each is read by its own runtime, and equals a float32 predict."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import warm
from keras import layers
from sklearn.exceptions import NotFittedError

from trainer import Classifier, Regressor, Trainer, exporting

ROOT = Path(__file__).parents[2]
ROWS = 48
RNG = np.random.default_rng(0)
CALM: dict[str, Any] = {"epochs": 1, "verbose": 0, "random_state": 0, "batch_size": 16}
ENDINGS = {
    "tf_saved_model": "",
    "onnx": ".onnx",
    "litert": ".tflite",
    "openvino": ".xml",
    "torch": ".pt2",
}
NEEDED = {
    "onnx": ("tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
    "openvino": ("openvino",),
    "torch": ("torch",),
}
COLOURS = np.array(["blue", "green", "red"])[RNG.integers(0, 3, ROWS)]
IMAGES = RNG.integers(0, 256, size=(ROWS, 8, 8, 1)).astype(np.uint8)
SERIES = RNG.normal(size=(ROWS, 9, 2)).astype(np.float32)
VECTORS = RNG.normal(loc=3, size=(ROWS, 4))
NUMBERS = pd.DataFrame({"a": VECTORS[:, 0], "b": np.where(RNG.random(ROWS) < 0.2, np.nan, 7.0)})
MIXED = NUMBERS.assign(
    kind=RNG.choice(["x", "y", "ü"], ROWS),
    city=RNG.choice([f"city {i}" for i in range(12)], ROWS),
    when=pd.date_range("2024-01-05", periods=ROWS, freq="17D"),
    size=pd.Categorical(RNG.choice(["lo", "hi"], ROWS), categories=["lo", "hi"], ordered=True),
)
MIXED = MIXED.rename(columns={"a": "a number"})
TEXTS = [f"a {'good' if i % 2 else 'bad'} film with number {i}" for i in range(ROWS)]


def needs(format: str) -> None:
    for name in NEEDED.get(format, ()):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f'{name} is not installed: pip install "exact-trainer[{format}]"')


class Two(Classifier):
    """Two inputs, of which one are ids, and two outputs, in dicts."""

    def build_model(self, spec: Any) -> keras.Model:
        amount, ids = keras.Input((4,), name="amount"), keras.Input((), dtype="int32", name="id")
        both = layers.Concatenate()([layers.Dense(3)(amount), layers.Embedding(20, 2)(ids)])
        found = {"colour": layers.Dense(3)(both), "id": layers.Dense(1)(both)}
        return keras.Model({"amount": amount, "id": ids}, found)


class Pair(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        given = [keras.Input((4,)), keras.Input((2,))]
        both = layers.Concatenate()(given)
        return keras.Model(given, [layers.Dense(1)(both), layers.Dense(2)(both)])


class Mean(keras.Model):
    """A subclassed model of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = layers.Embedding(5, 3), layers.Dense(3, "softmax")

    def call(self, x: Any) -> Any:
        return self.last(keras.ops.mean(self.table(x), axis=1))


class Subclassed(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        return Mean()


class Recurrent(Classifier):
    """A Sequential whose rows may have any length."""

    def build_model(self, spec: Any) -> keras.Model:
        last = layers.Dense(3, "softmax")
        return keras.Sequential([keras.Input((None, 2)), layers.LSTM(3), last])


class Blurred(Trainer):
    def build_model(self, spec: Any) -> keras.Model:
        norm = layers.BatchNormalization()
        conv = layers.Conv2D(1, 3, padding="same", activation="gelu")
        return keras.Sequential([keras.Input(spec.input_shape), conv, norm])


MODELS: dict[str, Callable[[], Any]] = {
    "images": lambda: Classifier(**CALM).fit(IMAGES, COLOURS),
    "vectors in float64": lambda: Regressor(**CALM).fit(VECTORS, 1e4 + 5 * VECTORS[:, 0]),
    "numbers": lambda: Classifier(**CALM).fit(NUMBERS, COLOURS),
    "mixed": lambda: Regressor(**{**CALM, "epochs": 4}).fit(MIXED, VECTORS[:, 0]),
    "mixed, one-hot": lambda: Classifier(model="mlp", **CALM).fit(MIXED, COLOURS),
    "text": lambda: Classifier(**CALM).fit(TEXTS, COLOURS),
    "text in a table": lambda: Classifier(**CALM).fit(NUMBERS.assign(t=TEXTS), COLOURS),
    "series": lambda: Regressor(model="sequence", **CALM).fit(SERIES[:16], VECTORS[:16, 0]),
    "recurrent": lambda: Recurrent(**CALM).fit(SERIES, COLOURS),
    "dicts": lambda: Two(normalize="standard", from_logits=True, **CALM).fit(
        {"amount": VECTORS, "id": np.arange(ROWS) % 20},
        {"colour": COLOURS, "id": VECTORS[:, 0] > 3},
    ),
    "tuples": lambda: Pair(**CALM).fit((VECTORS, VECTORS[:, :2]), (VECTORS[:, 0], SERIES[:, 0])),
    "subclassed": lambda: Subclassed(**CALM).fit(RNG.integers(0, 5, (ROWS, 6)), COLOURS),
    "stream": lambda: Blurred(loss="mse", **CALM).fit(
        tf.data.Dataset.from_tensor_slices((IMAGES / 255.0, IMAGES / 255.0)).batch(16)
    ),
    "mixed_bfloat16": lambda: Classifier(precision="mixed_bfloat16", **CALM).fit(IMAGES, COLOURS),
}
_fitted: dict[str, Any] = {}


def fitted(name: str) -> Any:
    if name not in _fitted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that were not meant to learn
            _fitted[name] = MODELS[name]()
    return _fitted[name]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Export leaves the user's logging and precision alone."""
    before = (logging.getLogger("tensorflow").level, keras.config.floatx())
    yield
    assert (logging.getLogger("tensorflow").level, keras.config.floatx()) == before


HOLDS = {
    # encoders: test_a_saved_model_holds_encoders_and_is_read_without_this_package
    "tf_saved_model": {"mixed, one-hot", "recurrent", "dicts", "tuples", "subclassed"},
    # tables: test_a_table_in_onnx_looks_up_text_dates_and_missing_values
    "onnx": set(MODELS) - {"text", "text in a table", "mixed", "mixed, one-hot"},
    "litert": {"images", "dicts", "tuples", "subclassed"},
    "openvino": {"numbers", "recurrent", "dicts", "tuples", "subclassed"},
    # each starts two processes with PyTorch
    "torch": {"vectors in float64", "dicts"},
}
LACKS = {
    "onnx": {
        "text in a table": "StaticRegexReplace.*StringSplitV2.*'text_0.* needs",
    },
    "litert": {
        "numbers": r"IsNan.*\(float64\), which the layer 'matrix' needs",
        "mixed": r"LookupTableFindV2 \(text\), which each of the layers 'matrix', 'size.lookup'",
        "recurrent": r"TensorListReserve \(loops over a batch of any size\).*layer 'lstm'",
    },
    "openvino": {"mixed": "text, which LookupTableFindV2.*'matrix'", "text": "StringLower"},
    "torch": {
        "numbers": "TableMatrix.*each of the layers",
        "subclassed": "form of Mean .*the layer 'mean'",
        "mixed, one-hot": "PyTorch has no text",
    },
}


@pytest.mark.parametrize(
    ("format", "name"), [(f, name) for f, held in HOLDS.items() for name in sorted(held)]
)
@pytest.mark.filterwarnings("ignore:precision=:UserWarning")
def test_what_a_format_holds_is_written_and_equal(format: str, name: str, tmp_path: Path) -> None:
    needs(format)
    model = fitted(name)
    path = tmp_path / f"model{ENDINGS[format]}"
    report = model.export(path, format=format)
    assert (report.path, report.format) == (path, format)
    assert report.difference <= 1e-5
    low = "bfloat16" in name
    assert report.difference_to_predict <= (0.05 if low else 1e-5)
    assert report.rows >= 8 and all(
        each.split()[1].startswith("[rows") for each in report.inputs.values()
    )
    assert report.runtime.split()[0] in (
        "tensorflow",
        "torch",
        "openvino",
        "onnxruntime",
        "ai-edge-litert",
    )
    left = {f"model{ENDINGS[format]}"} | ({"model.bin"} if format == "openvino" else set())
    assert set(os.listdir(tmp_path)) == left


@pytest.mark.parametrize(
    ("format", "name"), [(f, name) for f, lacked in LACKS.items() for name in lacked]
)
def test_what_a_format_lacks_is_named_with_its_layers(
    format: str, name: str, tmp_path: Path
) -> None:
    needs(format)
    with pytest.raises(ValueError, match=LACKS[format][name]) as error:
        fitted(name).export(tmp_path / f"model{ENDINGS[format]}", format=format)
    said = str(error.value)
    assert said.startswith(f"format={format!r}: ")
    assert "write format='tf_saved_model', which holds everything" in said
    assert os.listdir(tmp_path) == []


# ---- by each runtime, on the user's own rows -----------------------------------------------------


def columns(model: Any, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Rows of a DataFrame as docs/exporting.md says that they are fed."""
    return {
        name: values.astype(object if values.dtype.kind == "U" else np.float64)
        for name, values in model.network_.inputs.table.inputs(frame).items()
    }


def close(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def unseen() -> pd.DataFrame:
    frame = MIXED.head(5).copy()
    frame.loc[0, "city"] = "elsewhere"
    frame.loc[1, ["kind", "size"]] = None
    frame.loc[2, ["a number", "when"]] = None
    return frame


@pytest.mark.filterwarnings("ignore:.*is not one of:UserWarning")
@pytest.mark.parametrize("name", ["mixed", "mixed, one-hot"])
def test_a_table_in_onnx_looks_up_text_dates_and_missing_values(name: str, tmp_path: Path) -> None:
    needs("onnx")
    import onnxruntime

    model, path = fitted(name), tmp_path / "model.onnx"
    report = model.export(path, format="onnx")
    session = onnxruntime.InferenceSession(path)
    assert {i.name: i.shape[1:] for i in session.get_inputs()} == dict.fromkeys(report.inputs, [1])
    assert report.columns["column_0"] == "a number" and report.inputs["kind"] == "string [rows, 1]"
    expected = model.predict_proba if name.endswith("hot") else model.predict
    assert np.ptp(expected(MIXED)) > 0.1  # it has learnt something to compare
    for frame in (MIXED, unseen()):
        (found,) = session.run(None, columns(model, frame))
        close(found.squeeze(), expected(frame))
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["columns"]) == report.columns
    assert json.loads(about["classes"]) == report.classes


ELSEWHERE = """
import sys
import numpy as np, tensorflow as tf
for name in sys.argv[1:]:
    served = tf.saved_model.load(name)
    saved = np.load(f"{name}.npz")
    x = {key[2:]: tf.constant(saved[key]) for key in saved if key.startswith("x_")}
    expected = saved["expected"]
    found = np.reshape(served.serve(x if len(x) > 1 else x["x"]), expected.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
assert not any(name.split(".")[0] == "trainer" for name in sys.modules)
"""


@pytest.mark.filterwarnings("ignore:.*is not one of:UserWarning")
def test_a_saved_model_holds_encoders_and_is_read_without_this_package(tmp_path: Path) -> None:
    frames = {"mixed": unseen(), "text in a table": NUMBERS.assign(t=TEXTS)}
    texts = [*TEXTS[:3], "", "unheard of"]
    for name in (*frames, "text"):
        model = fitted(name)
        report = model.export(tmp_path / name)
        if name == "text":
            rows, expected = {"x": np.array(texts)}, model.predict_proba(texts)
            assert report.classes == {"output": ["blue", "green", "red"]}
        else:
            frame, table = frames[name], model.network_.inputs.table
            rows = {
                k: v.astype(str) if v.dtype == object else v
                for k, v in (columns(model, frame) | table.texts(frame)).items()
            }
            predict = model.predict if name == "mixed" else model.predict_proba
            expected = predict(frame)
            assert sorted(report.inputs) == sorted(rows)
        held: dict[str, Any] = {f"x_{k}": v for k, v in rows.items()}
        np.savez(tmp_path / f"{name}.npz", expected=expected, **held)
        extra = tmp_path / name / "assets.extra/exact_trainer.json"
        about = json.loads(extra.read_text("utf-8"))
        assert about["class"] == type(model).__name__ and about["inputs"] == report.inputs
    done = warm.run(ELSEWHERE, *frames, "text", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_several_inputs_and_outputs_keep_their_names_in_litert(tmp_path: Path) -> None:
    needs("litert")
    from ai_edge_litert.interpreter import Interpreter

    model = fitted("dicts")
    report = model.export(tmp_path / "two.tflite", format="litert")
    # an output that is called like an input has another name
    assert report.outputs == {"colour": "float32 [rows, 3]", "id_o": "float32 [rows, 1]"}
    assert report.classes == {"colour": ["blue", "green", "red"], "id_o": [False, True]}
    runner = Interpreter(model_path=str(tmp_path / "two.tflite")).get_signature_runner()
    assert report.meanings == {"colour": "logits", "id_o": "logits"}
    for n in (1, 7):  # any number of rows
        x = {"amount": VECTORS[:n], "id": np.arange(n)}
        found = runner(amount=VECTORS[:n].astype(np.float32), id=np.arange(n))
        close(tf.nn.softmax(found["colour"]), model.predict_proba(x)["colour"])
        close(tf.sigmoid(found["id_o"])[:, 0], model.predict_proba(x)["id"][:, 1])


def test_openvino_writes_two_files_with_the_classes_in_them(tmp_path: Path) -> None:
    needs("openvino")
    import openvino

    model = fitted("images")
    model.export(tmp_path / "v1.2.xml", format="openvino")
    assert sorted(os.listdir(tmp_path)) == ["v1.2.bin", "v1.2.xml"]
    model.export(tmp_path / "v1.2.xml", format="openvino")  # which replaces them
    read = openvino.Core().read_model(tmp_path / "v1.2.xml")
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.compile_model(read, "CPU", options)({"x": IMAGES[:3].astype(np.float32)})
    close(found["output"], model.predict_proba(IMAGES[:3]))
    assert json.loads(read.get_rt_info(["exact_trainer", "classes"]).astype(str)) == {
        "output": ["blue", "green", "red"]
    }


def test_pytorch_runs_the_program_on_any_number_of_rows(tmp_path: Path) -> None:
    needs("torch")
    import torch

    model, extra = fitted("dicts"), {"classes": ""}
    model.export(tmp_path / "model.pt2", format="torch")
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    assert json.loads(extra["classes"])["colour"] == ["blue", "green", "red"]
    for n in (1, 5):
        ids = torch.arange(n)
        colour, _ = program(torch.from_numpy(VECTORS[:n].astype(np.float32)), ids)
        expected = model.predict_proba({"amount": VECTORS[:n], "id": np.arange(n)})["colour"]
        close(torch.softmax(colour, 1).detach().numpy(), expected)


# ---- precision and comparison --------------------------------------------------------------------


def test_other_precisions_become_float32_with_a_warning_that_has_the_difference(
    tmp_path: Path,
) -> None:
    model = fitted("mixed_bfloat16")
    with pytest.warns(UserWarning, match=r"precision='mixed_bfloat16': .* in float32, .* up to"):
        report = model.export(tmp_path / "model")
    assert report.difference < 1e-5 < report.difference_to_predict < 0.05
    assert report.precision == "mixed_bfloat16" and "mixed_bfloat16" in str(report)
    served = tf.saved_model.load(str(tmp_path / "model"))
    found = served.serve(tf.constant(IMAGES, tf.float32))
    assert found.dtype == tf.float32
    off = np.abs(found - model.predict_proba(IMAGES)).max()
    assert 0 < off < 0.05
    assert model.network_.precision == "mixed_bfloat16"  # the Trainer stays as it is


def test_mixed_float16_with_its_scaled_optimizer_becomes_float32(tmp_path: Path) -> None:
    model = Classifier(precision="mixed_float16", **CALM).fit(VECTORS > 3, COLOURS == "red")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.export(tmp_path / "model")
    assert [str(w.message)[:26] for w in caught if w.category is UserWarning] == [
        "precision='mixed_float16':"
    ]


@pytest.mark.parametrize(
    ("y", "thresholds"),
    [
        (COLOURS == "red", {"output": {True: 0.3}}),
        (np.stack([COLOURS == "red", VECTORS[:, 0] > 3], 1) * 1, {"output": {0: 0.3, 1: 0.3}}),
    ],
)
def test_a_threshold_is_told_and_not_applied(y: Any, thresholds: Any, tmp_path: Path) -> None:
    model = Classifier(decision_threshold=0.3, **CALM).fit(VECTORS.astype(np.float32), y)
    report = model.export(tmp_path / "model")
    assert report.thresholds == thresholds and report.meanings == {"output": "probabilities"}
    about = json.loads((tmp_path / "model/assets.extra/exact_trainer.json").read_text("utf-8"))
    assert len(about["thresholds"]["output"]) == len(thresholds["output"])


def test_a_loaded_trainer_exports_what_the_fitted_one_did(tmp_path: Path) -> None:
    model = fitted("mixed")
    loaded = Regressor.load(model.save(tmp_path / "model.keras"))
    report = loaded.export(tmp_path / "served")
    assert report.difference <= 1e-5 and report.rows >= 8
    rows = {key: tf.constant(v) for key, v in columns(model, MIXED).items()}
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(rows)
    close(np.squeeze(found), model.predict(MIXED))


class Doubled(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.last = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.last(x)

    def predict_step(self, data: Any) -> Any:
        return 2 * super().predict_step(data)


class OwnStep(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        return Doubled()


def test_a_model_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    model = OwnStep(**CALM).fit(VECTORS.astype(np.float32), VECTORS[:, 0])
    with pytest.raises(ValueError, match=r"differ by 5.0e-01 .* Doubled has a predict_step of its"):
        model.export(tmp_path / "model")
    assert os.listdir(tmp_path) == []


class OnlyStep(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.last = layers.Dense(1)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.last(x)[:, 0] - y[:, 0]) ** 2)
        weights = self.last.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


class ByStep(Trainer):
    def build_model(self, spec: Any) -> keras.Model:
        return OnlyStep()


def test_a_model_without_call_has_nothing_to_export(tmp_path: Path) -> None:
    model = ByStep(loss="mse", **CALM).fit(VECTORS.astype(np.float32), VECTORS[:, :1])
    with pytest.raises(ValueError, match="OnlyStep has train_step and no call, .*; define call"):
        model.export(tmp_path / "model")


class Stateful(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        given = keras.Input(spec.input_shape, batch_size=16)
        return keras.Sequential([given, layers.LSTM(3, stateful=True), layers.Dense(1)])


class OfPython(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        def twice(x: Any) -> Any:
            found = tf.numpy_function(lambda a: 2 * a, [x], tf.float32)
            return tf.ensure_shape(found, [None, 4])

        twice_layer = layers.Lambda(twice, output_shape=(4,), name="twice")
        return keras.Sequential([keras.Input(spec.input_shape), twice_layer, layers.Dense(1)])


def test_a_stateful_model_and_its_batch_size_are_kept_in_a_saved_model(tmp_path: Path) -> None:
    model = Stateful(shuffle=False, **CALM).fit(SERIES, VECTORS[:, 0])
    report = model.export(tmp_path / "model")
    assert report.inputs == {"x": "float32 [16, 9, 2]"}
    needs("onnx")
    with pytest.raises(ValueError, match="variable that a call changes.*the layer 'lstm'"):
        model.export(tmp_path / "model.onnx", format="onnx")


def test_a_model_that_calls_python_is_refused_by_all_formats(tmp_path: Path) -> None:
    model = OfPython(**CALM).fit(VECTORS.astype(np.float32), VECTORS[:, 0])
    with pytest.raises(ValueError, match=r"no call of Python .* the layer 'twice' needs; write it"):
        model.export(tmp_path / "model")
    assert os.listdir(tmp_path) == []


# ---- arguments and files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "format", "error", "message"),
    [
        ("m.onnx", "onxx", ValueError, r"format='onxx': did you mean 'onnx'"),
        ("m", "tflite", ValueError, r"format='tflite': did you mean 'litert'|choose one of"),
        ("m", None, ValueError, r"format=None: choose one of 'litert'"),
        ("m.onnx", "tf_saved_model", ValueError, r"is a folder; write '.*m', or format='onnx'"),
        ("m.keras", "tf_saved_model", ValueError, r"is a folder; .*; save writes a .keras file"),
        ("m.tflite", "onnx", ValueError, r"end in .onnx .*; write '.*m.onnx', or format='litert'"),
        ("v1.2", "onnx", ValueError, r"must end in .onnx .*; write '.*v1.2.onnx'"),
        ("no/m", "tf_saved_model", FileNotFoundError, r"there is no folder '.*no'"),
        (3, "tf_saved_model", TypeError, r"path=3: must be the name"),
    ],
)
def test_a_bad_path_or_format_is_one_error(
    path: Any, format: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    where = path if isinstance(path, int) else tmp_path / path
    with pytest.raises(error, match=message):
        fitted("images").export(where, format=format)
    assert os.listdir(tmp_path) == []


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    for format in ("onnx", "litert", "openvino", "torch"):
        message = rf'format=\'{format}\' needs .*; pip install "exact-trainer\[{format}\]"'
        with pytest.raises(ImportError, match=message):
            fitted("images").export(tmp_path / f"m{ENDINGS[format]}", format=format)


def test_export_before_fit_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        Classifier().export(tmp_path / "model")


def test_a_saved_model_of_ours_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    model, path = fitted("images"), tmp_path / "model"
    path.mkdir()
    model.export(path)  # an empty folder
    first = (path / "variables/variables.index").stat().st_ino
    model.export(path)
    assert (path / "variables/variables.index").stat().st_ino != first
    assert os.listdir(tmp_path) == ["model"]
    (path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="has 'notes.txt' beside the SavedModel"):
        model.export(path)
    assert (path / "notes.txt").read_text() == "mine"
    (path / "notes.txt").unlink()
    (path / "assets.extra/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"has 'assets.extra/notes.txt' beside"):
        model.export(path)
    (path / "assets.extra/notes.txt").unlink()
    (path / "assets.extra/exact_trainer.json").unlink()
    with pytest.raises(FileExistsError, match="only a SavedModel that export wrote is replaced"):
        model.export(path)
    assert tf.saved_model.contains_saved_model(str(path))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file, and this format is a folder"):
        model.export(tmp_path / "file")
    for ending, format in ((".onnx", "onnx"), (".bin", "openvino")):
        needs(format)
        (tmp_path / f"m{ending}").mkdir()
        with pytest.raises(IsADirectoryError, match=f"m{ending}' is a folder"):
            model.export(tmp_path / f"m{ENDINGS[format]}", format=format)


@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_an_export_that_fails_leaves_what_was_there(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(format)
    path = tmp_path / f"model{ENDINGS[format]}"
    fitted("images").export(path, format=format)
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="nothing was written"):
        fitted("images").export(path, format=format)
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before


KILLED = """
import os, signal, sys
import numpy as np
from trainer import Regressor
from trainer.exporting import places

x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
model = Regressor(epochs=1, verbose=0, random_state=0).fit(x, x[:, 0])
model.export("model")
os.mkdir("before")
with open("before/n", "w") as file:
    file.write(model.export("model").outputs["output"])
places.move = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
model.export("model")
"""


def test_a_kill_before_the_last_step_leaves_the_old_model_whole(tmp_path: Path) -> None:
    done = warm.run(KILLED, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL, done.stderr
    served = tf.saved_model.load(str(tmp_path / "model"))
    assert np.isfinite(served.serve(tf.zeros((3, 2)))).all()
    left = {name for name in os.listdir(tmp_path) if name not in ("model", "before")}
    assert all(name.startswith(".") and name.endswith(".tmp") for name in left)
