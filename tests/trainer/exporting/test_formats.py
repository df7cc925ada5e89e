"""The formats as they are declared, and what their converters may say to a user."""

from __future__ import annotations

import configparser
import logging
import warnings
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

from trainer import exporting
from trainer.exporting import formats
from trainer.exporting.formats import FORMATS
from trainer.exporting.graphs import Refused

ROOT = Path(__file__).parents[3]


def test_each_format_has_an_ending_of_its_own_and_an_extra_with_its_runtime() -> None:
    assert tuple(FORMATS) == exporting.NAMES
    assert len({each.ending for each in FORMATS.values()}) == len(FORMATS)
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = parsed["options.extras_require"]
    for name, each in FORMATS.items():
        assert bool(each.extra) == bool(each.packages) == (name != "tf_saved_model")
        if each.extra:
            assert each.runtime in extras[each.extra]


def test_the_version_of_a_format_is_that_of_its_runtime() -> None:
    assert FORMATS["tf_saved_model"].version == f"tensorflow {metadata.version('tensorflow')}"


def test_converters_log_nothing_and_warn_of_nothing_and_later_all_is_as_before() -> None:
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="of a converter"), formats.quietly():
            assert not any(logger.isEnabledFor(logging.ERROR) for logger in loggers)
            warnings.warn("about its own", DeprecationWarning, stacklevel=1)
            raise RuntimeError("of a converter")
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", stacklevel=1)
    assert [logger.level for logger in loggers] == levels


def test_what_fails_in_the_process_of_pytorch_is_one_line_of_its_last_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(Refused) as caught:
        formats._torch_worker("run", str(tmp_path), str(tmp_path / "none.pt2"))
    said = caught.value.lacks
    assert said.startswith("form of it: ") and "Error: " in said and "\n" not in said


class Own(layers.Layer):
    """A layer that only this process knows."""

    def call(self, x: Any) -> Any:
        return x


def test_pytorch_refuses_layers_of_ones_own_and_text_before_anything_is_written(
    tmp_path: Path,
) -> None:
    given = keras.Input((2,))

    def served(output: Any, dtype: Any) -> Any:
        network = SimpleNamespace(whole=keras.Model(given, output))
        return SimpleNamespace(network=network, specs={"x": tf.TensorSpec((None, 2), dtype)})

    write = FORMATS["torch"].write
    with pytest.raises(Refused, match="form of Own .only Keras' own layers") as caught:
        write(served(Own(name="mine")(given), tf.float32), tmp_path / "model.pt2", {})
    assert caught.value.layers == ["mine"]
    with pytest.raises(Refused, match="^text$"):
        write(served(layers.Dense(1)(given), tf.string), tmp_path / "model.pt2", {})
    assert list(tmp_path.iterdir()) == []
