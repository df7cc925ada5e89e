"""LoRA: what trains, what a file of it holds, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import mutated
import numpy as np
import pytest

from trainer import Regressor
from trainer.network import adapters
from trainer.state import state_file

RNG = np.random.default_rng(0)
Y = RNG.normal(size=24).astype("float32")
FORMS: dict[str, tuple[np.ndarray, Callable[[], list[Any]]]] = {
    "dense": (RNG.normal(size=(24, 16)), lambda: [keras.layers.Dense(64, name="wide")]),
    "einsum_dense": (
        RNG.normal(size=(24, 3, 16)),
        lambda: [
            keras.layers.EinsumDense("abc,cd->abd", (3, 64), name="wide"),
            keras.layers.Flatten(),
        ],
    ),
    "embedding": (
        RNG.integers(0, 90, (24, 5)),
        lambda: [keras.layers.Embedding(90, 32, name="wide"), keras.layers.Flatten()],
    ),
    "conv": (
        RNG.normal(size=(24, 4, 4, 8)),
        lambda: [keras.layers.Conv2D(32, 3, name="wide"), keras.layers.Flatten()],
    ),
}


class Tuned(Regressor):
    """A base from a seed of its own, with LoRA on one layer."""

    epochs = 2
    batch_size = 8
    random_state = 0
    verbose = 0
    optimizer = "adam"
    learning_rate = 0.01
    form: str = "dense"
    rank: int | None = 2
    alpha: float | None = None
    base_seed: int = 1
    head: bool = True
    quantized: str | None = None

    def build_model(self, spec: Any) -> keras.Model:
        keras.utils.set_random_seed(self.base_seed)  # in place of a file with the base
        base = keras.Sequential([keras.Input(spec.input_shape), *FORMS[self.form][1]()])
        if self.rank is not None:
            wide = base.get_layer("wide")
            if self.quantized is not None:
                wide.quantize(self.quantized)
            wide.enable_lora(self.rank, lora_alpha=self.alpha)
            if getattr(wide, "bias", None) is not None:
                wide.bias.trainable = False
        inputs = keras.Input(spec.input_shape, dtype=base.inputs[0].dtype)
        head = keras.layers.Dense(spec.n_outputs, name="head", trainable=self.head)
        return keras.Model(inputs, head(base(inputs)))


def rows(form: str = "dense") -> np.ndarray:
    x = FORMS[form][0]
    return x if x.dtype.kind == "i" else x.astype("float32")


def fitted(**fields: Any) -> Tuned:
    return Tuned(**fields).fit(rows(fields.get("form", "dense")), Y)


def wide(trainer: Any) -> Any:
    return next(layer for layer in trainer.model_._flatten_layers() if layer.name == "wide")


def weights(trainer: Any) -> list[bytes]:
    return [np.asarray(w).tobytes() for w in trainer.network_.core.weights]


def factors(trainer: Any) -> list[np.ndarray]:
    layer = wide(trainer)
    names = ("lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b")
    return [np.asarray(getattr(layer, name)) for name in names if hasattr(layer, name)]


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return fitted()


@pytest.mark.parametrize("form", FORMS)
def test_only_the_adapters_train_and_a_file_restores_both_parts_to_the_bit(
    form: str, tmp_path: Path
) -> None:
    before = fitted(form=form, epochs=1, learning_rate=1e-30)
    after = fitted(form=form, alpha=4.0)
    for trainer in (before, after):
        assert len(factors(trainer)) == 2
    kernel = "_embeddings" if form == "embedding" else "_kernel"
    base, now = (np.asarray(getattr(wide(trainer), kernel)) for trainer in (before, after))
    assert base.tobytes() == now.tobytes()
    assert all((a != b).any() for a, b in zip(factors(before), factors(after), strict=True))
    for only in (False, True):
        loaded = Tuned.load(after.save(tmp_path / "model.keras", adapters_only=only))
        assert weights(loaded) == weights(after)
        np.testing.assert_array_equal(loaded.predict(rows(form)), after.predict(rows(form)))


@pytest.mark.parametrize("only", [False, True], ids=["whole", "apart"])
def test_a_quantized_base_stays_apart_from_its_adapters(only: bool, tmp_path: Path) -> None:
    trained = fitted(quantized="int8")
    path = trained.save(tmp_path / "model.keras", adapters_only=only)
    loaded = Tuned.load(path)
    assert weights(loaded) == weights(trained)
    if only:
        _, tensors = state_file.from_bytes(
            mutated.members(path.read_bytes())["adapters.safetensors"]
        )
        assert all(array.dtype == np.float32 for array in tensors.values())


def test_under_5_percent_of_the_parameters_train_and_the_file_is_as_small(
    tmp_path: Path,
) -> None:
    class Large(Tuned):
        def build_model(self, spec: Any) -> keras.Model:
            keras.utils.set_random_seed(self.base_seed)
            model = keras.Sequential([keras.Input(spec.input_shape)])
            for _ in range(2):
                model.add(keras.layers.Dense(256, "relu", trainable=self.rank is None))
            model.add(keras.layers.Dense(spec.n_outputs))
            if self.rank is not None:
                for layer in model.layers[:2]:
                    layer.trainable = True
                    layer.enable_lora(self.rank)
            return model

    base = Large(rank=None).fit(rows(), Y)
    trained = Large().fit(rows(), Y)
    learned, held = trained.model_.trainable_weights, base.model_.weights
    counts = [sum(np.prod(v.shape) for v in part) for part in (learned, held)]
    assert counts[0] < 0.05 * counts[1]
    whole = base.save(tmp_path / "base.keras").stat().st_size
    apart = trained.save(tmp_path / "adapters.keras", adapters_only=True).stat().st_size
    assert apart < 0.05 * whole
    stored = mutated.members((tmp_path / "adapters.keras").read_bytes())
    assert set(stored) == {"adapters.safetensors", "trainer.json"}


def test_plain_keras_predicts_the_same_from_the_whole_file(tuned: Tuned, tmp_path: Path) -> None:
    loaded = keras.models.load_model(tuned.save(tmp_path / "model.keras"), compile=False)
    found = loaded.predict(rows(), verbose=0)[:, 0]
    np.testing.assert_allclose(found, tuned.predict(rows()), rtol=1e-4, atol=1e-5)


def test_a_pickle_restores_both_parts(tuned: Tuned) -> None:
    assert weights(pickle.loads(pickle.dumps(tuned))) == weights(tuned)


@pytest.mark.parametrize(
    "plugin",
    [
        {"name": "checkpoint", "restore_best": True},
        {"name": "early_stopping", "patience": 1, "monitor": "loss", "mode": "max"},
    ],
    ids=["checkpoint", "early_stopping"],
)
def test_restoring_the_best_epoch_restores_its_adapters(
    plugin: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if plugin["name"] == "checkpoint":
        plugin = plugin | {"monitor": "loss", "mode": "max", "folder": tmp_path / "best"}
    restored = fitted(callbacks=[plugin], epochs=3)
    first = fitted(epochs=1)
    assert len(restored.history_["loss"]) > 1
    assert weights(restored) == weights(first)


def test_a_finished_run_is_returned_with_both_parts(tuned: Tuned, tmp_path: Path) -> None:
    first = fitted(run_dir=tmp_path / "run")
    again = fitted(run_dir=tmp_path / "run")
    assert weights(first) == weights(again) == weights(tuned)


def test_a_file_without_the_parts_loads_merged_with_adapters_that_learn(
    tuned: Tuned, tmp_path: Path
) -> None:
    content = mutated.members(tuned.save(tmp_path / "model.keras").read_bytes())
    del content["adapters.safetensors"]  # as version 0.1.0 wrote it
    (tmp_path / "model.keras").write_bytes(mutated.packed(content))
    loaded = Tuned.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(rows()), tuned.predict(rows()), rtol=1e-4, atol=1e-5)
    a, b = factors(loaded)
    assert a.any() and not b.any()


def test_adapters_of_another_base_are_refused_with_both_digests(
    tuned: Tuned, tmp_path: Path
) -> None:
    path = tuned.save(tmp_path / "adapters.keras", adapters_only=True)

    class Other(Tuned):
        def build_model(self, spec: Any) -> keras.Model:
            self.base_seed = 2
            return super().build_model(spec)

    Other.__name__ = "Tuned"
    with pytest.raises(ValueError, match=r"adapters\.keras.*SHA-256 \w{12}, and build_model makes"):
        Other.load(path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rank": None}, "the model has no frozen weights"),
        ({"form": "dense", "rank": None, "head": False}, None),
    ],
)
def test_adapters_need_frozen_weights(
    fields: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    trainer = fitted(**fields, epochs=1)
    if said is None:  # a frozen part without LoRA will do
        loaded = Tuned.load(trainer.save(tmp_path / "part.keras", adapters_only=True))
        assert weights(loaded) == weights(trainer)
        return
    with pytest.raises(ValueError, match=said):
        trainer.save(tmp_path / "part.keras", adapters_only=True)
    assert not (tmp_path / "part.keras").exists()


def test_backup_and_restore_is_refused(tmp_path: Path) -> None:
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(ValueError, match="BackupAndRestore adds LoRA's adapters.*run_dir"):
        fitted(callbacks=[backup])


def test_a_base_whose_optimizer_knows_other_variables_is_refused() -> None:
    class Compiled(Tuned):
        optimizer = None
        learning_rate = None

        def build_model(self, spec: Any) -> keras.Model:
            base = keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])
            base.compile("adam", "mse")
            base.optimizer.build(base.trainable_variables)  # as in a file of a trained model
            base.layers[0].enable_lora(2)
            return base

    with pytest.raises(ValueError, match=r"other variables than the model trains now.*compile"):
        Compiled().fit(rows(), Y)


def changed(content: bytes, **values: Any) -> bytes:
    found, tensors = state_file.from_bytes(content)
    return state_file.to_bytes(found | values, tensors)


def without_one(content: bytes) -> bytes:
    found, tensors = state_file.from_bytes(content)
    tensors.popitem()
    return state_file.to_bytes(found, tensors)


def transposed(content: bytes) -> bytes:
    found, tensors = state_file.from_bytes(content)
    return state_file.to_bytes(found, {name: value.T for name, value in tensors.items()})


BASE = {"sha256": "0" * 64, "variables": 3, "bytes": 100}


@pytest.mark.parametrize("only", [True, False], ids=["apart", "whole"])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-9],
        lambda content: b"",
        lambda content: changed(content, base={}),
        lambda content: changed(content, base=BASE | {"bytes": 2**61}),
        lambda content: changed(content, base=BASE | {"variables": -1}),
        lambda content: changed(content, base=BASE | {"more": 1}),
        lambda content: changed(content, base=[1]),
        lambda content: changed(content, other=1),
        without_one,
        transposed,
    ],
)
def test_an_altered_entry_is_refused_and_named(
    change: Callable[[bytes], bytes], only: bool, tuned: Tuned, tmp_path: Path
) -> None:
    path = tuned.save(tmp_path / "model.keras", adapters_only=only)
    content = mutated.members(path.read_bytes())
    content["adapters.safetensors"] = change(content["adapters.safetensors"])
    path.write_bytes(mutated.packed(content))
    with pytest.raises(ValueError, match=r"model\.keras") as raised:
        Tuned.load(path)
    said = str(raised.value)
    assert "adapters.safetensors" in said or "do not fit the model" in said
    assert "\n" not in said


def test_a_small_file_cannot_claim_a_huge_base(tuned: Tuned, tmp_path: Path) -> None:
    path = tuned.save(tmp_path / "model.keras", adapters_only=True)
    content = mutated.members(path.read_bytes())
    claimed = BASE | {"bytes": 2**40}
    content["adapters.safetensors"] = changed(content["adapters.safetensors"], base=claimed)
    path.write_bytes(mutated.packed(content))
    with pytest.raises(ValueError, match=r"base: bytes: 1,099,511,627,776 are more than the 1,07"):
        Tuned.load(path)


def test_what_training_changes_is_told_from_the_base() -> None:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, trainable=False),
            keras.layers.BatchNormalization(trainable=False),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    base = adapters.base_of(model)
    assert base.variables == 2 + 4  # the statistics of the second normalization are learned
    assert base.size == 4 * (4 * 3 + 3 + 4 * 3)
    _, tensors = state_file.from_bytes(adapters.to_bytes(model))
    assert set(tensors) == {f"weight/{i}" for i in range(6, 12)}
