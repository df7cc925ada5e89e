"""Parts that repeat, with values of their own: layers and their widths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pytest
from light_searches import X, Y, sklearn_search, tuner_search

from search import Space, load_study
from search.space import assembled, taken_apart
from trainer import Choice, Classifier, Float, Int, Repeat

F = X.astype("float32")
LAYERS = Repeat(
    Int(1, 3),
    units=Int(2, 8),
    activation=Choice("relu", "tanh"),
    slope=Float(0.0, 0.3, when={"activation": "relu"}),
)


class Deep(Classifier):
    """As many layers as its field has parts."""

    layers: Annotated[tuple, LAYERS] = ({"units": 4, "activation": "tanh"},)
    epochs = 1
    batch_size = 32
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        model = keras.Sequential([keras.Input(spec.input_shape)])
        for layer in self.layers:
            model.add(keras.layers.Dense(layer["units"], layer["activation"]))
        model.add(keras.layers.Dense(spec.n_outputs, "softmax"))
        return model


def test_each_part_has_its_values_where_there_are_as_many_parts() -> None:
    space = Space.of(Deep())
    generator = np.random.default_rng(0)
    for _ in range(50):
        point = space.draw(generator)
        layers = assembled(point)["layers"]
        assert LAYERS.contains(layers) and len(layers) == point["layers"]
        assert all(("slope" in layer) == (layer["activation"] == "relu") for layer in layers)
        assert taken_apart({"layers": layers}, space) == point
        assert space.check(point) == point
    assert Space.recorded(space.described()) == space


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
@pytest.mark.filterwarnings("ignore:tuner='bayesian'")
def test_layers_are_searched_saved_and_refitted(tuner: str, tmp_path: Path) -> None:
    search = tuner_search(
        Deep(),
        tuner=tuner,
        space={"layers": LAYERS},
        max_trials=4,
        enqueue=[{"layers": ({"units": 3, "activation": "tanh"},) * 2}],
        keep_models=1,
        directory=tmp_path,
    ).fit(F, Y, validation_data=(F, Y))
    assert search.results_.layers[0] == 2 and search.results_["layers[1].units"][0] == 3
    best = search.best_params_["layers"]
    assert search.best_estimator_.layers == best
    assert search.cv_results_["params"][search.best_index_] == search.best_params_
    loaded = load_study(tmp_path)
    assert loaded.best_params_ == search.best_params_
    model = loaded.load_model(loaded.kept_models[0], Deep)
    assert list(model.layers) == list(best)
    loaded.plot_parallel()


def test_a_grid_has_every_number_of_parts() -> None:
    space = {"layers": Repeat(Int(0, 2), units=Int(2, 3), activation=Choice("relu"))}
    search = sklearn_search(Deep(), space, method="grid", cv=None).fit(F, Y)
    assert len(search.results_) == 1 + 2 + 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Repeat(3, units=Int(1, 2)), r"Repeat\(3\): must be an Int from 0 on"),
        (lambda: Repeat(Int(1, 2)), "no domains; write Repeat"),
        (lambda: Repeat(Int(1, 2), units=3), r"Repeat\(units=3\): must be Int, Float"),
    ],
)
def test_what_cannot_repeat_is_refused(make: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()
