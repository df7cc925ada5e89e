"""Optimizers of one's own, and with schedules of one's own, are copied with all they hold."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone

from trainer import Regressor
from trainer.network import compile
from trainer.runs.directory import RunError

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X[:, 0]


class Halved(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule without get_config, as in tutorials."""

    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, step: Any) -> Any:
        return self.start * 0.5 ** keras.ops.cast(step, "float32")


class Configured(Halved):
    """A schedule that is not registered with Keras."""

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start}


class Scaled(keras.optimizers.SGD):
    """An optimizer without get_config, whose constructor takes nothing else."""

    def __init__(self, learning_rate: Any = 0.1, scale: float = 1.0) -> None:
        super().__init__(learning_rate)
        self._scale = scale

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient * self._scale, variable, learning_rate)


class Open(Scaled):
    """An optimizer that passes what it does not know to its base."""

    def __init__(self, scale: float, **others: Any) -> None:
        keras.optimizers.SGD.__init__(self, **others)
        self._scale = scale


class Forgetful(keras.optimizers.SGD):
    """An optimizer that keeps its argument under another name."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__(rate)


OWN = {
    "a schedule without get_config": lambda: keras.optimizers.Adam(Halved(0.3), beta_1=0.8),
    "a schedule that is not registered": lambda: keras.optimizers.Adam(Configured(0.3)),
    "a function": lambda: keras.optimizers.SGD(lambda: 0.3),
    "a class of one's own": lambda: Scaled(0.3, scale=2.0),
    "a schedule in a class of one's own": lambda: Scaled(Halved(0.3), scale=2.0),
    "a class that passes arguments on": lambda: Open(2.0, learning_rate=0.3, clipnorm=1.0),
    "a loss scale": lambda: keras.optimizers.LossScaleOptimizer(Scaled(0.3, 2.0)),
}


def weights(optimizer: Any, fit: Any) -> list[np.ndarray]:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    made.compile(optimizer, "mse")
    fit(made)
    return made.get_weights()


def by_keras(model: keras.Model) -> None:
    model.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)


def by_us(model: keras.Model) -> None:
    fitted = Regressor.from_keras(model, epochs=2, batch_size=8, shuffle=False, verbose=0)
    fitted.fit(X, Y)
    model.set_weights(fitted.model_.get_weights())


@pytest.mark.parametrize("own", OWN)
def test_an_optimizer_of_ones_own_trains_as_with_keras(own: str) -> None:
    expected = weights(OWN[own](), by_keras)
    for a, b in zip(weights(OWN[own](), by_us), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("own", sorted(OWN.keys() - {"a function"}))
def test_a_trainer_with_it_is_cloned_and_pickled(own: str) -> None:
    made = Regressor(optimizer=OWN[own]())
    expected = compile.optimizer_config(compile.optimizer(made.optimizer, None))
    for copy in (clone(made), pickle.loads(pickle.dumps(made))):
        found = compile.optimizer_config(compile.optimizer(copy.optimizer, None))
        for config in (expected, found):
            config.pop("name", None)
            if "inner_optimizer" in config:
                config["inner_optimizer"]["config"].pop("name", None)
            if isinstance(config.get("learning_rate"), Halved):
                config["learning_rate"] = vars(config["learning_rate"])
        assert found == expected
        kept = copy.optimizer
        scaled = getattr(kept, "inner_optimizer", kept)
        assert getattr(scaled, "_scale", 2.0) == 2.0


def test_a_field_for_the_learning_rate_replaces_that_of_the_optimizer() -> None:
    for made in (Scaled(0.3, 2.0), keras.optimizers.LossScaleOptimizer(Scaled(0.3, 2.0))):
        found = compile.optimizer(made, 0.5)
        inner = getattr(found, "inner_optimizer", found)
        assert float(inner.learning_rate) == 0.5 and inner._scale == 2.0


def test_an_optimizer_that_does_not_say_what_it_was_made_with_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"no attribute says what rate was.*Forgetful.get_config"):
        Regressor(optimizer=Forgetful(0.3), verbose=0).fit(X, Y)

    set_afterwards = Scaled(0.3)
    set_afterwards.momentum = 0.9
    with pytest.raises(ValueError, match=r"the copy has momentum=0.0, not 0.9"):
        Regressor(optimizer=set_afterwards, verbose=0).fit(X, Y)


def test_a_changed_argument_of_a_schedule_is_refused_on_resuming(tmp_path: Path) -> None:
    def fit(start: float, beta: float = 0.8) -> None:
        optimizer = keras.optimizers.Adam(Halved(start), beta_1=beta)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimizer=.* cannot be written to a file")
            Regressor(
                optimizer=optimizer, epochs=1, verbose=0, random_state=1, run_dir=tmp_path
            ).fit(X, Y)

    fit(0.3)
    fit(0.3)  # returns the finished run
    with pytest.raises(RunError, match="value of optimizer.learning_rate.start changed"):
        fit(0.4)
    with pytest.raises(RunError, match="value of optimizer.beta_1 changed"):
        fit(0.3, 0.9)


def test_a_metric_of_ones_own_is_described_without_the_number_that_keras_gives_it() -> None:
    from trainer.runs.directory import described

    class Own(keras.metrics.Mean):
        pass

    assert described([Own()]) == described([Own()])


def test_a_config_of_an_optimizer_is_described_without_the_number_that_keras_gives_it() -> None:
    from trainer.runs.directory import described

    def config(rate: float) -> dict[str, Any]:
        return keras.optimizers.serialize(keras.optimizers.SGD(rate, name=None))

    first, second = config(0.1), config(0.1)
    assert first != second
    assert described(first) == described(second) != described(config(0.2))


# ---- weights that are excluded from weight decay, of which a config says nothing -----------------


def decaying(*, wrapped: bool = False, **excluded: Any) -> keras.optimizers.Optimizer:
    made = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    if excluded:
        made.exclude_from_weight_decay(**excluded)
    return keras.optimizers.LossScaleOptimizer(made, initial_scale=1.0) if wrapped else made


def trained(made: Any) -> list[np.ndarray]:
    return made.fit(X, Y).model_.get_weights()


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("wrapped", [False, True], ids=["AdamW", "wrapped"])
def test_excluded_names_of_weights_stay_so_in_clones_pickles_and_files(
    wrapped: bool, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "verbose": 0, "random_state": 0}
    optimizer = decaying(wrapped=wrapped, var_names=["kernel", "none"])
    made = Regressor(model="mlp", optimizer=optimizer, **settings)
    expected = trained(clone(made))
    assert not same(
        expected, trained(Regressor(model="mlp", optimizer=decaying(wrapped=wrapped), **settings))
    )
    assert same(expected, trained(pickle.loads(pickle.dumps(made))))
    made.fit(X, Y).save(tmp_path / "made.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(expected, trained(Regressor.load(tmp_path / "made.keras")))


def compiled(**excluded: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
    )
    if excluded.pop("listed", False):
        excluded["var_list"] = [model.layers[0].kernel]
    model.compile(decaying(**excluded), "mse")
    return model


def by_batches(model: keras.Model) -> list[np.ndarray]:
    model.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0)
    return model.get_weights()


def test_excluded_weights_of_a_given_model_stay_so(tmp_path: Path) -> None:
    model = compiled(listed=True, var_names=["bias"])
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 8, "shuffle": False, "verbose": 0}
    made = Regressor.from_keras(model, **settings)
    expected = by_batches(model)
    assert not same(expected, by_batches(compiled()))
    for each in (clone(made), pickle.loads(pickle.dumps(made)), made):
        assert same(expected, trained(each))
    made.save(tmp_path / "made.keras")
    further = by_batches(model)
    assert same(further, trained(Regressor.load(tmp_path / "made.keras")))
    again = Regressor.from_keras(made.model_, **settings)
    assert same(further, trained(pickle.loads(pickle.dumps(again))))


def test_excluded_weights_of_another_model_are_refused() -> None:
    model = compiled(listed=True)
    made = Regressor(model="mlp", optimizer=model.optimizer, verbose=0)
    message = r"^optimizer=<AdamW>: exclude_from_weight_decay\(var_list=.*write var_names="
    with pytest.raises(ValueError, match=message):
        made.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        pickle.dumps(made)


def test_names_that_are_no_plain_words_are_warned_of_when_saved(tmp_path: Path) -> None:
    optimizer = decaying(var_names=["^(a+)+$"])
    made = Regressor(model="mlp", optimizer=optimizer, epochs=1, verbose=0).fit(X, Y)
    with pytest.warns(UserWarning, match="^optimizer=.*cannot be written to a file"):
        made.save(tmp_path / "made.keras")


def test_a_run_that_excludes_others_is_refused_and_one_that_did_not_say_goes_on(
    tmp_path: Path,
) -> None:
    def fit(*names: str) -> Any:
        optimizer = decaying(var_names=list(names))
        return Regressor(
            model="mlp", optimizer=optimizer, epochs=1, verbose=0, run_dir=tmp_path
        ).fit(X, Y)

    fit("bias")
    with pytest.raises(RunError, match="excluding.*bias.*kernel"):
        fit("kernel")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["fields"]["optimizer"] = config["fields"]["optimizer"]["excluding"]["of"]
    path.write_text(json.dumps(config))
    assert len(fit("bias").history_) == 1
