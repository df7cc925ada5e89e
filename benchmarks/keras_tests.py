"""Keras' own tests of fit, evaluate and predict, with a Trainer in the place of keras.Model.

    pip download --no-deps --no-binary :all: keras==3.15.1 && tar xzf keras-3.15.1.tar.gz
    python -m benchmarks.keras_tests keras-3.15.1/keras/src

Runs trainers/trainer_test.py and callbacks/*_test.py of that folder twice, each in a process of its
own: with Keras itself, and with `fit`, `evaluate` and `predict` of `Trainer.from_keras(model)`.
That trains a copy, and the tests look at their own model, which is therefore replaced by the copy
afterwards. Prints the tests that pass with Keras and not with us. The tests themselves need jax and
requests to be importable.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_OURS = "KERAS_TESTS_WITH_TRAINER"


def pytest_configure() -> None:
    """Replace the methods of every Keras model, if this process is to run with a Trainer."""
    if os.environ.get(_OURS):
        _replace()


def _replace() -> None:
    import keras
    from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

    def fit(model: Any, x: Any = None, y: Any = None, **given: Any) -> Any:
        model._assert_compile_called("fit")
        return _fit(_as_model(model), x, y, **given)

    def evaluate(
        model: Any,
        x: Any = None,
        y: Any = None,
        batch_size: Any = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: Any = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **_: Any,
    ) -> Any:
        model._assert_compile_called("evaluate")
        x, trainer = _ready(_as_model(model), x, y)
        logs = trainer.evaluate(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps=steps,
            callbacks=callbacks,
        )
        _adopt(model, trainer.model_)
        return logs if return_dict else model._flatten_metrics_in_order(logs)

    def predict(
        model: Any,
        x: Any,
        batch_size: Any = None,
        verbose: Any = "auto",
        steps: Any = None,
        callbacks: Any = None,
    ) -> Any:
        x, trainer = _ready(_as_model(model), x)
        made = trainer.predict(x, batch_size=batch_size, steps=steps, callbacks=callbacks)
        _adopt(model, trainer.model_)
        return made

    TensorFlowTrainer.fit = fit
    TensorFlowTrainer.evaluate = evaluate
    TensorFlowTrainer.predict = predict
    keras.Model.fit, keras.Model.evaluate, keras.Model.predict = fit, evaluate, predict


def _as_model(model: Any) -> Any:
    """Make a keras.Model of a layer mixed with Keras' trainer, as some of the tests define."""
    import keras

    if not isinstance(model, keras.Model):
        cls = type(model)
        own = {name: getattr(cls, name) for name in ("call", "build", "compute_output_shape")}
        if "layers" in vars(model):  # a property of keras.Model
            own["layers"] = None
        model.__class__ = type(cls.__name__, (cls, keras.Model), own)
    return model


def _trainer(model: Any, **fields: Any) -> Any:
    """Return a Trainer of a copy of the model."""
    from trainer import Trainer

    return Trainer.from_keras(model, run_eagerly=bool(model.run_eagerly), **fields)


def _adopt(model: Any, trained: Any) -> None:
    """Let the test's model be the copy that was trained: the tests look at theirs."""
    if trained is not model:
        model.__class__ = type(trained)
        vars(model).clear()
        vars(model).update(vars(trained))


def _taking(optimizer: Any) -> Any:
    """Return a callback that remembers the copy, and patches its optimizer as the test did its own.

    A training that a test interrupts leaves no fitted Trainer.
    """
    import keras

    class Taking(keras.callbacks.Callback):
        trained: Any = None

        def on_train_begin(self, logs: Any = None) -> None:
            self.trained = self.model  # afterwards it is None
            patched = vars(optimizer).get("assign_sub")
            if patched is not None:
                vars(self.model.optimizer)["assign_sub"] = patched

    return Taking()


def _ready(model: Any, x: Any, y: Any = None) -> tuple[Any, Any]:
    """Return x, and a Trainer of a model that is evaluated or predicts without a fit."""
    first = x
    if isinstance(x, Iterator):
        batch = next(x)
        first, x = iter([batch]), itertools.chain([batch], x)
    return x, _trainer(model, verbose=0).initialize(first, y)


def _fit(model: Any, x: Any, y: Any, **given: Any) -> Any:
    names = ["batch_size", "epochs", "verbose", "callbacks", "validation_split"]
    names += ["shuffle", "class_weight"]
    fields = {"epochs": 1} | {name: given.pop(name) for name in names if name in given}
    taking = _taking(model.optimizer)
    callbacks = fields.get("callbacks") or []
    callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    trainer = _trainer(model, **fields | {"callbacks": [taking, *callbacks]})
    try:
        trainer.fit(x, y, **given)
    finally:
        if taking.trained is not None:
            _adopt(model, taking.trained)
    found = importlib.import_module("keras").callbacks.History()
    found.history = trainer.history_.history
    found.epoch = [int(epoch) - 1 for epoch in trainer.history_["epoch"]]
    model.history = found
    return found


def run(folder: Path, *, ours: bool) -> dict[str, str]:
    """Run the tests; return the reason of each failure by the test's name, "" for those that pass.

    Args:
        folder: keras/src of Keras' source distribution.
        ours: whether a Trainer takes the place of keras.Model.
    """
    with tempfile.TemporaryDirectory() as place:
        copies = Path(place) / "tests_of_keras"
        copies.mkdir()
        (copies / "__init__.py").touch()
        callbacks = (folder / "callbacks").glob("*_test.py")
        for file in (folder / "trainers" / "trainer_test.py", *callbacks):
            shutil.copy(file, copies)
        report = Path(place) / "report.xml"
        environment = dict(os.environ) | ({_OURS: "1"} if ours else {})
        environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
        command += [
            "--continue-on-collection-errors",
            "-p",
            "benchmarks.keras_tests",
            f"--junitxml={report}",
            str(copies),
        ]
        subprocess.run(command, cwd=place, env=environment, check=False, stdout=subprocess.DEVNULL)
        return _outcomes(report)


def _outcomes(report: Path) -> dict[str, str]:
    found = {}
    for case in ET.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        name = f"{case.get('classname', '').rsplit('tests_of_keras.', 1)[-1]}::{case.get('name')}"
        fault = case.find("failure")
        fault = case.find("error") if fault is None else fault
        text = "" if fault is None else (fault.get("message") or "failed")
        found[name] = re.sub(r"\s+", " ", text)[:160]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what passes with Keras and not with a Trainer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="keras/src of Keras' source distribution")
    folder = parser.parse_args(arguments).folder
    keras, ours = run(folder, ours=False), run(folder, ours=True)
    passing = [name for name, fault in keras.items() if not fault]
    failing = {name: ours.get(name, "did not run") for name in passing if ours.get(name, "x")}
    for name, fault in sorted(failing.items()):
        print(f"{name}: {fault}")
    print(f"{len(passing) - len(failing)} of {len(passing)} tests of Keras pass")


if __name__ == "__main__":
    main()
