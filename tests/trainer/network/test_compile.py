"""Optimizers, losses and metrics by name."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor
from trainer.network import compile

KINDS: dict[str, tuple[Any, type, Any]] = {
    "optimizer": (
        keras.optimizers,
        keras.optimizers.Optimizer,
        lambda name: compile.optimizer(name, None),
    ),
    "loss": (keras.losses, keras.losses.Loss, compile.loss),
    "metrics": (keras.metrics, keras.metrics.Metric, lambda name: compile.metrics([name])[0]),
}
# what no name alone says: which rate, how many classes, which function
NEED_ARGUMENTS = {
    "IoU",
    "LossScaleOptimizer",
    "MeanIoU",
    "MeanMetricWrapper",
    "MultiOptimizer",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PrecisionAtRecall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
}


def classes(field: str) -> list[str]:
    module, base, _ = KINDS[field]
    found = [(n, v) for n, v in vars(module).items() if inspect.isclass(v)]
    return [n for n, v in found if issubclass(v, base) and v is not base]


@pytest.mark.parametrize("field", KINDS)
def test_every_public_class_of_keras_is_taken_by_its_name(field: str) -> None:
    take = KINDS[field][2]
    for name in set(classes(field)) - NEED_ARGUMENTS:
        for written in (name, name.lower(), keras.src.utils.naming.to_snake_case(name)):
            assert take(written) is not None
            if field != "metrics":  # where a dict is one of outputs
                assert take({"class_name": written, "config": {}}) is not None


def test_a_class_that_keras_does_not_list_is_the_one_that_was_named() -> None:
    assert type(compile.optimizer("Lamb", 0.5)) is keras.optimizers.Lamb
    loss = compile.loss("CategoricalGeneralizedCrossEntropy")
    assert isinstance(loss, keras.losses.CategoricalGeneralizedCrossEntropy)
    config = {"class_name": "lamb", "config": {"beta_1": 0.25}}
    assert compile.optimizer(config, None).beta_1 == 0.25


@pytest.mark.parametrize("field", KINDS)
def test_an_error_never_suggests_the_name_that_was_given(field: str) -> None:
    module, base, take = KINDS[field]
    for name in [*NEED_ARGUMENTS.intersection(classes(field)), base.__name__]:
        config = {"class_name": name, "config": {}}
        for written in (name, name.lower(), *([] if field == "metrics" else [config])):
            with pytest.raises(ValueError, match=f"^{field}=") as error:
                take(written)
            assert "did you mean" not in str(error.value)
            assert f"keras.{module.__name__.split('.')[-1]}.{name}" in str(error.value)


def test_a_wrong_config_of_a_class_of_keras_is_said_to_be_that() -> None:
    for take, name in ((lambda c: compile.optimizer(c, None), "SGD"), (compile.loss, "Hinge")):
        with pytest.raises(ValueError, match=rf"{name} cannot be made of this .*nope") as error:
            take({"class_name": name, "config": {"nope": 1}})
        assert "did you mean" not in str(error.value)


def test_a_model_trained_with_lamb_is_loaded_and_opened_by_keras(tmp_path: Any) -> None:
    import numpy as np

    x = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2)
    path = (
        Regressor(optimizer="Lamb", epochs=1, random_state=0)
        .fit(x, x[:, 0])
        .save(tmp_path / "m.keras")
    )
    for model in (Regressor.load(path).model_, keras.models.load_model(path)):
        assert type(model.optimizer) is keras.optimizers.Lamb


@pytest.mark.parametrize("rate", [1, np.int64(1), np.float32(1)], ids=repr)
def test_a_learning_rate_is_any_real_number(rate: Any) -> None:
    made = compile.optimizer("sgd", rate)
    assert float(made.learning_rate) == 1.0
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    assert float(compile.optimizer(wrapped, rate).inner_optimizer.learning_rate) == 1.0


@pytest.mark.parametrize("field", ["metrics", "weighted_metrics"])
def test_an_error_of_a_metric_names_its_field(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}='aucc': .* did you mean 'AUC'"):
        compile.metrics(["aucc"], field)
    with pytest.raises(ValueError, match=rf"write {field}=\[keras.metrics.MeanIoU\(\.\.\.\)\]"):
        compile.metrics(["MeanIoU"], field)


def test_a_schedule_may_be_given_as_its_config() -> None:
    config = {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}
    made = compile.optimizer("sgd", {"class_name": "ExponentialDecay", "config": config})
    assert float(made.learning_rate) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["ExpDecay", "ExponentialDecay", "SGD"])
def test_a_config_of_no_schedule_is_refused_as_the_learning_rate(name: str) -> None:
    config = {"class_name": name, "config": {}}
    with pytest.raises(ValueError, match="^learning_rate={'class_name': .*: no schedule of Keras"):
        compile.optimizer("sgd", config)


def test_what_a_hook_returns_as_an_optimizer_is_checked() -> None:
    assert isinstance(compile.checked_optimizer("sgd", "hook"), keras.optimizers.SGD)
    with pytest.raises(TypeError, match=r"^A\.b returned None: it must return .*`return` missing"):
        compile.checked_optimizer(None, "A.b")
    with pytest.raises(TypeError, match=r"^A\.b returned an int: it must return a keras\.optimi"):
        compile.checked_optimizer(5, "A.b")


def test_a_model_that_is_none_is_named_with_its_article() -> None:
    with pytest.raises(TypeError, match="^A.build_model returned an int: it must return a keras"):
        compile.check_model(5, "A.build_model")
