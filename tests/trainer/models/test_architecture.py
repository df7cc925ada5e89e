"""Architectures: which one is chosen, and their own values of fields that are None."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from search import TunerSearch
from trainer import Classifier, Float, Regressor, find_batch_size, models
from trainer.callbacks.callback import Callback
from trainer.models import Architecture, Look, Values

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "yes", "no")})


class Own(Classifier):
    """A network of one's own, which looks at fields."""

    def build_model(self, spec: Any) -> keras.Model:
        self.seen = (self.epochs, self.batch_size, self.validation_split)
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(2, "softmax")])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """A tiny architecture, chosen for DataFrames."""

    class Small(Architecture):
        def suits(self, look: Look) -> bool:
            return look.is_frame

        def values(self, look: Look) -> Values:
            return Values(
                epochs=3,
                batch_size=8,
                validation_split=0.25,
                optimizer=lambda: keras.optimizers.SGD(0.5),
                schedule={"name": "learning_rate", "shape": "linear"},
                early_stopping={"patience": 10},
            )

        def domains(self) -> dict[str, Any]:
            from trainer import Choice, Float

            return {"learning_rate": Float(0.1, 1.0), "model__hidden": Choice((2,), (3,))}

    made = Small("small", models.mlp)
    everything = {"small": made, **models.ARCHITECTURES}
    monkeypatch.setattr(models, "ARCHITECTURES", everything)
    return made


def test_a_network_of_ones_own_has_the_values_of_keras_and_sees_them_in_hooks() -> None:
    made = Own(verbose=0, random_state=0).fit(X, Y)
    assert made.seen == (10, 32, 0.0)
    assert (made.epochs, made.batch_size, made.optimizer, made.validation_split) == (None,) * 4
    assert len(made.history_) == 10
    assert made.model_.optimizer.name.startswith("adam")
    assert (made.resolved_.epochs, made.resolved_.batch_size) == (10, 32)
    assert made.network_.architecture.name is None


@pytest.mark.parametrize("name", ["mlp", "deep", "cnn", "wide_and_deep"])
def test_the_first_architectures_have_the_values_of_keras(name: str) -> None:
    found = Classifier(model=name).resolve(X, Y)
    assert (found.name, found.values) == (name, Values())


def test_the_choice_is_by_the_kind_of_x() -> None:
    images = RNG.normal(size=(40, 8, 8))
    assert Classifier().resolve(X, Y).name == "mlp"
    assert Classifier().resolve(images, Y).name == "cnn"
    assert Classifier().resolve(FRAME, Y).name == "tabular"
    assert Regressor().resolve(FRAME, X[:, 0]).name == "tabular"
    assert Classifier(model="mlp").resolve(FRAME, Y).name == "mlp"
    assert Classifier(normalize="minmax").resolve(FRAME, Y).name == "mlp"
    assert Regressor().resolve(FRAME, {"a": X[:, 0], "b": X[:, 1]}).name == "mlp"
    assert Own().resolve(FRAME, Y).name is None


def test_an_architectures_values_are_used_shown_and_kept(
    small: Architecture, tmp_path: Path
) -> None:
    made = Classifier(verbose=0, random_state=0).fit(FRAME, Y)
    assert made.get_params()["epochs"] is None and clone(made).batch_size is None
    assert len(made.history_) == 3 and "val_loss" in made.history_.records[0]
    assert type(made.model_.optimizer).__name__ == "SGD"
    assert [type(c).__name__ for c in made.callbacks_] == ["LearningRate", "EarlyStopping"]
    said = made.summary()
    assert "architecture  small" in said
    assert "epochs 3, batch_size 8, validation_split 0.25" in said
    loaded = Classifier.load(made.save(tmp_path / "m.keras"))
    assert loaded.network_.architecture.name == "small"
    assert (loaded.epochs, loaded.resolved_.epochs, loaded.resolved_.batch_size) == (None, 3, 8)
    np.testing.assert_array_equal(loaded.predict_proba(FRAME), made.predict_proba(FRAME))


def test_fields_that_are_set_win(small: Architecture) -> None:
    class Seen(Callback):
        def setup(self, session: Any) -> None:
            self.seen = (session.epochs, session.params["epochs"], session.params["batch_size"])

    seen = Seen()
    made = Classifier(epochs=2, callbacks=[seen], verbose=0, random_state=0).fit(FRAME, Y)
    assert seen.seen == (2, 2, 8) and len(made.history_) == 2
    made = Classifier(
        optimizer="adam", validation_split=0.0, epochs=1, verbose=0, random_state=0
    ).fit(FRAME, Y)
    assert made.callbacks_ == [] and "val_loss" not in made.history_.records[0]
    found = Classifier(callbacks=["plateau", "early_stopping"], epochs=1, verbose=0)
    names = [type(c).__name__ for c in found.fit(FRAME, Y).callbacks_]
    assert names == ["Plateau", "EarlyStopping"]


def test_given_validation_rows_are_watched_and_none_are_held_out(small: Architecture) -> None:
    made = Classifier(epochs=1, verbose=0, random_state=0)
    made.fit(FRAME, Y, validation_data=(FRAME[:10], Y[:10]))
    assert made.network_.evidence.train.rows == 40
    assert type(made.callbacks_[-1]).__name__ == "EarlyStopping"


def test_a_run_has_the_resolved_values_and_resumes_with_them(
    small: Architecture, tmp_path: Path
) -> None:
    def made(**fields: Any) -> Classifier:
        return Classifier(verbose=0, random_state=0, run_dir=tmp_path / "run", **fields)

    made().fit(FRAME, Y)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["fields"]["epochs"] == 3 and config["architecture"]["name"] == "small"
    assert config["architecture"]["schedule"] == {"name": "learning_rate", "shape": "linear"}
    assert len(made().fit(FRAME, Y).history_) == 3  # returned unchanged
    assert len(made(epochs=5).fit(FRAME, Y, resume=True).history_) == 5


def test_a_run_without_a_name_goes_on_with_what_0_1_chose(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    # as 0.1 wrote it: the values in fields, and no architecture
    Classifier(model="mlp", verbose=0, random_state=0, run_dir=folder, epochs=2, batch_size=32).fit(
        FRAME, Y
    )
    config = json.loads((folder / "config.json").read_text())
    del config["architecture"]
    config["fields"]["model"] = None
    (folder / "config.json").write_text(json.dumps(config))
    again = Classifier(verbose=0, random_state=0, run_dir=folder, epochs=4)
    again.fit(FRAME, Y, resume=True)
    assert again.network_.architecture.name == "mlp"
    assert len(again.history_) == 4


def test_a_file_without_a_name_is_what_0_1_built(tmp_path: Path) -> None:
    import zipfile

    made = Classifier(model="mlp", verbose=0, random_state=0, epochs=1).fit(FRAME, Y)
    path = made.save(tmp_path / "m.keras")
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(content["trainer.json"])
    del meta["architecture"]
    meta["fields"] |= {"model": None, "epochs": 10, "batch_size": 32, "validation_split": 0.0}
    content["trainer.json"] = json.dumps(meta).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    loaded = Classifier.load(path)
    np.testing.assert_array_equal(loaded.predict(FRAME), made.predict(FRAME))
    assert loaded.resolved_.epochs == 10


def test_options_are_parameters() -> None:
    made = Classifier(model={"name": "mlp", "hidden": (4,)}, epochs=1, verbose=0)
    assert made.get_params()["model__hidden"] == (4,)
    assert made.get_params()["model__activation"] == "relu"
    made.set_params(model__activation="tanh")
    assert made.model == {"name": "mlp", "hidden": (4,), "activation": "tanh"}
    assert clone(made).get_params() == made.get_params()
    made.fit(X, Y)
    assert [layer.units for layer in made.model_.layers[-1].layers if hasattr(layer, "units")] == [
        4,
        2,
    ]
    with pytest.raises(ValueError, match="model is None; write model='mlp'"):
        Classifier().set_params(model__hidden=(3,))
    with pytest.raises(ValueError, match="did you mean 'hidden'"):
        Classifier(model="mlp").set_params(model__hiden=(3,))


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"epochs": 0}, ValueError, "epochs=0: must be 1 or more"),
        ({"epochs": "auto"}, TypeError, "epochs='auto': must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": 2.5}, TypeError, "batch_size=2.5"),
        ({"validation_split": 1.0}, ValueError, "validation_split=1.0"),
        ({"model": "tabullar"}, ValueError, "did you mean 'tabular'"),
        ({"model": 3}, TypeError, "model=3: must be the name"),
        ({"model": {"hidden": (3,)}}, TypeError, "a dict with a name"),
        ({"model": {"name": "mlp", "units": 3}}, ValueError, "no such option"),
        ({"model": {"name": "tabular", "dropout": 1.5}}, ValueError, "dropout=1.5"),
        ({"model": {"name": "tabular", "width": 0}}, ValueError, "width=0"),
    ],
)
def test_bad_values_are_one_error_before_training(
    fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Classifier(verbose=0, **fields).fit(FRAME, Y)


def test_a_search_reads_the_resolved_values_and_the_domains(small: Architecture) -> None:
    search = TunerSearch(
        Classifier(model="small", random_state=0),
        tuner="random",
        max_trials=2,
        executor="serial",
        seed=0,
        verbose=0,
    ).fit(FRAME, Y)
    assert set(search.best_params_) == {"learning_rate", "model__hidden"}
    assert set(search.results_["epochs"]) == {3}
    assert search.best_estimator_.network_.architecture.name == "small"
    with pytest.raises(ValueError, match="a trial takes 3 epochs"):
        search.set_params(max_epochs=2).fit(FRAME, Y)


def _adamw_is_counted() -> None:
    for _ in range(2):
        keras.optimizers.AdamW()


def test_a_study_resumes_however_many_optimizers_the_process_has_made(tmp_path: Path) -> None:
    def searched(trials: int) -> TunerSearch:
        made = Classifier(model={"name": "tabular", "width": 4}, epochs=1, random_state=0)
        space = {"learning_rate": Float(1e-3, 0.1)}
        fields: dict[str, Any] = {"executor": "serial", "seed": 0, "verbose": 0}
        search = TunerSearch(made, space, max_trials=trials, directory=tmp_path, **fields)
        return search.fit(FRAME, Y)

    searched(1)
    _adamw_is_counted()
    assert len(searched(2).results_) == 2


@pytest.mark.parametrize("name", [None, "adam_w", "adam_w_1"])
def test_a_run_resumes_however_many_optimizers_the_process_has_made(
    name: str | None, tmp_path: Path
) -> None:
    def made(epochs: int) -> Classifier:
        model = {"name": "tabular", "width": 4}
        return Classifier(model=model, epochs=epochs, verbose=0, random_state=0, run_dir=tmp_path)

    made(1).fit(FRAME, Y)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert "name" not in config["architecture"]["optimizer"]
    if name is not None:  # as runs recorded it before
        config["architecture"]["optimizer"]["name"] = name
        path.write_text(json.dumps(config))
    _adamw_is_counted()
    assert len(made(2).fit(FRAME, Y, resume=True).history_) == 2


def test_numpys_numbers_are_recorded_as_pythons(tmp_path: Path) -> None:
    model = {"name": "deep", "depth": np.int64(1), "units": np.int64(4), "activation": "relu"}
    values: dict[str, Any] = {
        "epochs": np.int64(1),
        "batch_size": np.int64(8),
        "validation_split": np.float32(0.25),
    }
    run = tmp_path / "run"
    made = Classifier(model=model, run_dir=run, verbose=0, random_state=0, **values).fit(X, Y)
    config = json.loads((run / "config.json").read_text())
    for name, value in values.items():
        assert config["fields"][name] == config["architecture"][name] == value.item()
    assert config["architecture"]["options"] == {"depth": 1, "units": 4, "activation": "relu"}
    loaded = Classifier.load(made.save(tmp_path / "m.keras"))
    assert dict(loaded.network_.architecture.options) == {
        "depth": 1,
        "units": 4,
        "activation": "relu",
    }


def test_an_option_may_be_searched_over_an_array_of_numpy() -> None:
    made = Classifier(model={"name": "deep", "depth": 1}, epochs=1, verbose=0)
    found = GridSearchCV(made, {"model__units": np.array([4, 8])}, cv=2).fit(X, Y)
    assert found.best_estimator_.model_ is not None
    text = Classifier(
        model={"name": "text", "embedding": np.int64(4), "length": np.int64(5)}, epochs=1, verbose=0
    ).fit(["good film", "bad film"] * 20, Y)
    assert text.network_.architecture.options == {"embedding": 4, "length": 5}


WIDTHS = r"must be a tuple of whole numbers from 1, such as"


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        ({"name": "mlp", "hidden": 4}, TypeError, rf"hidden=4: {WIDTHS} hidden=\(256, 128\)"),
        ({"name": "mlp", "hidden": (0,)}, ValueError, rf"hidden=\(0,\): {WIDTHS}"),
        ({"name": "mlp", "hidden": (True,)}, TypeError, rf"hidden=\(True,\): {WIDTHS}"),
        (
            {"name": "mlp", "activation": "RELU"},
            ValueError,
            "activation='RELU': .* did you mean 'relu'",
        ),
        ({"name": "mlp", "activation": 3}, TypeError, "must be the name of an activation"),
        ({"name": "wide_and_deep", "hidden": "a"}, TypeError, rf"hidden='a': {WIDTHS}"),
        ({"name": "deep", "units": True}, TypeError, "units=True: must be a whole number"),
        ({"name": "deep", "batch_norm": "yes"}, TypeError, "batch_norm='yes': must be True or"),
        ({"name": "deep", "dropout": "0.1"}, TypeError, "dropout='0.1': must be a number"),
        (
            {"name": "deep", "dropout": 1.0},
            ValueError,
            "dropout=1.0: must be .*; write dropout=0.2",
        ),
        ({"name": "deep", "dropout": True}, TypeError, "dropout=True: must be a number"),
        ({"name": "cnn", "filters": 3}, TypeError, f"filters=3: {WIDTHS}"),
        ({"name": "cnn", "units": 0}, ValueError, "units=0: must be 1 or more"),
        ({"name": "cnn", "dropout": 2}, ValueError, "dropout=2: must be a number from 0"),
        ({"name": "text", "hidden": None}, TypeError, f"hidden=None: {WIDTHS}"),
        ({"name": "text", "embedding": -1}, ValueError, "embedding=-1: must be 0 or more"),
        ({"name": "text_rnn", "embedding": 0}, ValueError, "embedding=0: must be 1 or more"),
        ({"name": "text_rnn", "units": "3"}, TypeError, "units='3': must be a whole number"),
        ({"name": "text_rnn", "dropout": 1.0}, ValueError, "dropout=1.0: must be a number from"),
        ({"name": "transformer", "dropout": -1}, ValueError, "dropout=-1: must be a number from"),
        ({"name": "tabular", "deviation": "a"}, TypeError, "deviation='a': must be a number"),
        ({"name": "sequence", "network": "lstm"}, ValueError, "network='lstm': must be one of"),
    ],
)
def test_the_value_of_an_option_is_checked_before_anything_is_read(
    model: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=rf"^model=\{{'name': '{model['name']}', .*: {said}"):
        Classifier(model=model, run_dir=tmp_path / "run", verbose=0).fit(X, Y)
    assert not (tmp_path / "run").exists()
    (option, value) = list(model.items())[1]
    with pytest.raises(error, match=said):
        Classifier(model=model["name"]).set_params(**{f"model__{option}": value})


def test_layers_may_be_given_as_a_list_and_options_of_ones_own_are_not_checked() -> None:
    made = Classifier(model={"name": "mlp", "hidden": [4]}, epochs=1, verbose=0).fit(X, Y)
    assert made.network_.architecture.options == {"hidden": (4,)}
    of_ones_own = Architecture("own", models.mlp)
    assert models.check_options(of_ones_own, {"hidden": "a"}) == {"hidden": "a"}
    with pytest.raises(ValueError, match="no such option"):
        models.check_options(of_ones_own, {"hiden": 1})


def test_finders_use_the_resolved_values(small: Architecture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_batch_size(Classifier(), FRAME, Y, sizes=(8, 16), seconds=0.01)
    assert list(found.frame["batch_size"]) == [8, 16]


def test_a_stream_is_not_split_by_itself() -> None:
    stream = tf.data.Dataset.from_tensor_slices((X.astype("float32"), Y)).batch(10)
    found = Classifier(model="tabular").resolve(stream)
    assert found.values.validation_split == 0
