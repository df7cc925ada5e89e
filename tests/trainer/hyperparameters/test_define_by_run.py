"""Hyperparameters that a method asks for: the fields, domains and conditions that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import TunerSearch
from search.space import Space
from trainer import Bool, Choice, Classifier, DefineByRun, Float, Int


class Net(DefineByRun, Classifier):
    epochs = 1

    @staticmethod
    def define(ask: Any) -> Any:
        kind = ask("kind", Choice("plain", "dropped"))
        rate = ask("rate", Float(0.1, 0.5)) if kind == "dropped" else 0.0
        layers = ask("layers", Int(1, 3))
        widths = [ask(f"units_{i}", Int(2, 8), default=4) for i in range(layers)]
        ask("learning_rate", Float(1e-3, 1e-1, log=True), default=0.01)
        return rate, widths

    def build_model(self, spec: Any) -> Any:
        import keras

        rate, widths = self.defined()
        x = inputs = keras.Input(spec.input_shape)
        for width in widths:
            x = keras.layers.Dense(width, "relu")(x)
        x = keras.layers.Dropout(rate)(x)
        return keras.Model(inputs, keras.layers.Dense(spec.n_outputs)(x))


def test_each_name_is_a_field_with_its_domain_and_its_condition() -> None:
    found = {name: d for name, d in Net.domains().items() if name in Net().get_params()}
    assert found["kind"] == Choice("plain", "dropped")
    assert found["rate"] == Float(0.1, 0.5, when={"kind": ("dropped",)})
    assert found["layers"] == Int(1, 3)
    assert found["units_0"] == Int(2, 8)
    assert found["units_1"] == Int(2, 8, when={"layers": (2, 3)})
    assert found["units_2"] == Int(2, 8, when={"layers": (3,)})
    assert found["learning_rate"] == Float(1e-3, 1e-1, log=True)


def test_values_outside_of_a_search_are_the_defaults_and_may_be_given() -> None:
    assert Net().defined() == (0.0, [4])
    assert Net(layers=2, units_1=8, kind="dropped", rate=0.2).defined() == (0.2, [4, 8])
    assert Net().get_params()["learning_rate"] == 0.01


def test_points_of_its_space_have_the_names_that_it_asks_for() -> None:
    space = Space.of(Net())
    generator = np.random.default_rng(0)
    for _ in range(50):
        point = space.draw(generator)
        asked: list[str] = []

        def ask(name: str, *_: Any, asked: list[str] = asked, point: Any = point, **__: Any) -> Any:
            asked.append(name)
            return point[name]

        Net.define(ask)
        assert set(point) == set(asked)


def test_names_depend_on_several_values_at_once() -> None:
    class Deep(DefineByRun, Classifier):
        @staticmethod
        def define(ask: Any) -> None:
            if ask("a", Bool()):
                b = ask("b", Choice(1, 2, 3))
                if b != 2 and ask("c", Bool()):
                    ask("d", Float(0, 1))
            flag = ask("e", Bool())
            mode = ask("f", Choice("x", "y"))
            if flag and mode == "y":
                ask("g", Int(0, 1000))

    found = Deep.domains()
    assert found["b"].when == {"a": (True,)}
    assert found["c"].when == {"b": (1, 3)}
    assert found["d"].when == {"c": (True,)}
    assert found["g"].when == {"f": ("y",), "e": (True,)}


def test_a_subclass_that_asks_for_less_searches_less() -> None:
    class Smaller(Net):
        @staticmethod
        def define(ask: Any) -> Any:
            return 0.0, [ask("units_0", Int(2, 3))]

    assert Smaller.domains()["units_0"] == Int(2, 3)
    assert not {"kind", "layers", "units_1"} & set(Smaller.domains())
    assert Smaller().defined() == (0.0, [2])
    assert Net().defined() == (0.0, [4])


def test_a_search_builds_what_it_recorded_and_a_file_holds_it(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    search = TunerSearch(Net(verbose=0), max_trials=3, executor="serial", seed=1, verbose=0)
    search.fit(x, y, validation_data=(x, y))
    best = search.best_estimator_
    assert {n: best.get_params()[n] for n in search.best_params_} == search.best_params_
    dense = [layer for layer in best.model_.layers if type(layer).__name__ == "Dense"]
    assert [layer.units for layer in dense[:-1]] == best.defined()[1]
    best.save(tmp_path / "net.keras")
    loaded = Net.load(tmp_path / "net.keras")
    assert loaded.defined() == best.defined()
    assert (loaded.predict(x) == best.predict(x)).all()


def _class(define: Any) -> type:
    return type("Bad", (DefineByRun, Classifier), {"define": staticmethod(define)})


@pytest.mark.parametrize(
    ("define", "error", "said"),
    [
        (lambda ask: None, ValueError, "asks for nothing"),
        (lambda ask: ask("fit", Int(1, 2)), ValueError, "has 'fit' already"),
        (lambda ask: ask("a b", Int(1, 2)), ValueError, "must be a Python name"),
        (lambda ask: ask("a__b", Int(1, 2)), ValueError, "must be a Python name"),
        (lambda ask: ask("a", [1, 2]), TypeError, "must be an Int, Float, Choice or Bool"),
        (lambda ask: ask("a", Int(1, 2, when={"b": 1})), ValueError, "write an if around"),
        (lambda ask: ask("a", Int(1, 2), 3), ValueError, "default 3 lies outside"),
        (lambda ask: (ask("a", Int(1, 2)), ask("a", Int(1, 2))), ValueError, "'a' twice"),
        (lambda ask: ask("b", Int(1, ask("a", Int(1, 4)))), ValueError, "another name for each"),
        (
            lambda ask: ask("c", Bool()) if ask("a", Bool()) != ask("b", Bool()) else None,
            ValueError,
            "whether it asks for 'c' must follow from values",
        ),
        (
            lambda ask: ask("c", Bool()) if ask("a", Float(0, 1)) > 0.5 else None,
            ValueError,
            "whether it asks for 'c' must follow from values",
        ),
    ],
)
def test_what_makes_no_space_is_refused_with_the_class(
    define: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=rf"Bad\.define: .*{said}"):
        _class(define)


def test_define_must_not_need_an_object() -> None:
    with pytest.raises(TypeError, match="Bad.define: must be a static method"):
        type("Bad", (DefineByRun, Classifier), {"define": lambda self, ask: ask("a", Bool())})


def test_a_field_outside_of_its_domain_that_leads_to_another_name_is_told() -> None:
    with pytest.raises(ValueError, match="asks for 'units_3', which it did not in 1,000 runs"):
        Net(layers=4).defined()
