"""What a file may name: nothing in it is executed, and no way around Keras' safe mode works.

Each attack stands where Trainer.load could meet it, in trainer.json, and in Keras' own part of the
archive, which load never reads. The marks of success are a file that the payload would write, a
file that it would read, and a server that it would call.
"""

from __future__ import annotations

import base64
import copy
import io
import marshal
import socket
import tarfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import keras
import mutated
import numpy as np
import pytest

from trainer import Int, Regressor, saving
from trainer.callbacks import register
from trainer.callbacks.callback import Callback
from trainer.network.allowed import Allowed
from trainer.utils.forms import Malformed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype("float32")
Y = X[:, 0]
HERE: list[Any] = []  # what was made or called, with its arguments


class Tiny(Regressor):
    units: Annotated[int, Int(1, 8)] = 2
    epochs = 1
    batch_size = 8
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs)])


def elsewhere(name: str, base: type) -> type:
    """A class of another module that notes each making of it."""

    def __init__(self: Any, mark: Any = None, **kwargs: Any) -> None:
        HERE.append((name, mark))
        base.__init__(self, **kwargs)

    return type(name, (base,), {"__init__": __init__, "__module__": "somewhere_else"})


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file as save writes it."""
    folder = tmp_path_factory.mktemp("saved")
    return Tiny(optimizer="sgd").fit(X, Y).save(folder / "model.keras").read_bytes()


@pytest.fixture(autouse=True)
def nothing_made() -> Iterator[None]:
    HERE.clear()
    yield


@pytest.fixture
def unsafe() -> Iterator[None]:
    """A process in which somebody has switched Keras' safe mode off."""
    from keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(None):
        keras.config.enable_unsafe_deserialization()
        yield


def refused(path: Path, content: bytes, **options: Any) -> str:
    """What load says, which must be one error that names the path."""
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        Tiny.load(path, **options)
    assert str(caught.value).startswith(f"path={str(path)!r}: ")
    return str(caught.value)


def with_field(content: bytes, name: str, form: Any) -> bytes:
    return mutated.with_json(content, lambda meta: meta["fields"].update({name: form}))


def as_pairs(value: Any) -> Any:
    """A dict as a field's value, which is another way to a config than {"keras": ...}."""
    if isinstance(value, dict):
        return {"dict": [[k, as_pairs(v)] for k, v in value.items()]}
    return [as_pairs(v) for v in value] if isinstance(value, list) else value


def code(mark: Path) -> list[Any]:
    """Marshalled code that makes a file, as Keras' func_dump writes it."""
    compiled = compile(f"lambda *a: open({str(mark)!r}, 'w').close()", "x", "eval").co_consts[0]
    return [base64.b64encode(marshal.dumps(compiled)).decode(), None, None]


def a_lambda(mark: Path) -> dict[str, Any]:
    return {"class_name": "__lambda__", "config": {"value": code(mark)}}


def a_function(module: str, name: str, registered: str = "function") -> dict[str, Any]:
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": registered,
    }


def a_class(module: str, name: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, **more}


class Payloads:
    """The configs of each published way, with the marks that they would leave in a folder."""

    def __init__(self, folder: Path, address: str) -> None:
        mark, self.address = folder / "executed", address
        secret = folder / "secret.txt"
        secret.write_text("one\ntwo\n")
        member = io.BytesIO()
        with tarfile.open(folder / "slip.tar", "w") as archive:
            info = tarfile.TarInfo("../../slipped")
            archive.addfile(info, member)
        layers, wrapped = "keras.layers", a_lambda(mark)
        of_lambda = a_class(layers, "Lambda", {"name": "x", "function": wrapped})
        load_model = a_function("keras.models", "load_model")
        self.configs: dict[str, list[dict[str, Any]]] = {
            # code in a Lambda
            "CVE-2024-3660": [
                wrapped,
                of_lambda,
                a_class("keras.losses", "LossFunctionWrapper", {"fn": wrapped}),
                a_class("keras.metrics", "MeanMetricWrapper", {"fn": wrapped}),
                a_class(
                    "keras.optimizers",
                    "SGD",
                    {"learning_rate": a_class("keras.optimizers.schedules", "X", {"f": wrapped})},
                ),
            ],
            # any module and any function, by name
            "CVE-2025-1550": [
                a_function("os", "system"),
                a_class("subprocess", "Popen", {"args": ["touch", str(mark)]}),
                a_class("builtins", "exec", {"source": "1"}),
                a_class("keras.metrics", "MeanMetricWrapper", {"fn": a_function("os", "system")}),
                {**a_class("tensorflow", "__typespec__", {}), "spec_name": "RaggedTensorSpec"},
            ],
            # functions of Keras' own that fetch, write and load
            "CVE-2025-8747": [
                a_function("keras.utils", "get_file"),
                a_function("keras.src.utils.file_utils", "get_file"),
                a_class(
                    "keras.metrics",
                    "MeanMetricWrapper",
                    {"fn": a_function("keras.utils", "get_file"), "origin": f"http://{address}/x"},
                ),
                a_class(layers, "Lambda", {"function": a_function("keras.utils", "get_file")}),
            ],
            # a config that switches safe mode off, and then has code
            "CVE-2025-9906": [
                a_function("keras.config", "enable_unsafe_deserialization"),
                a_function("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"),
                a_function("keras.src.backend.common.global_state", "set_global_attribute"),
                a_class(layers, "Lambda", {"function": load_model, "arguments": {"safe_mode": 0}}),
                a_class(
                    "keras.metrics",
                    "MeanMetricWrapper",
                    {"fn": a_function("keras.config", "enable_unsafe_deserialization")},
                ),
            ],
            # a vocabulary that is the name of a file, or of a server
            "CVE-2025-12058": [
                a_class(layers, kind, {"vocabulary": place})
                for kind in ("StringLookup", "IntegerLookup", "TextVectorization")
                for place in (str(secret), f"http://{address}/vocabulary")
            ],
            # a SavedModel that lies elsewhere
            "CVE-2026-1462": [
                a_class(layers, "TFSMLayer", {"filepath": str(folder)}),
                a_class("keras.src.export.tfsm_layer", "TFSMLayer", {"filepath": str(folder)}),
                a_class(layers, "TorchModuleWrapper", {"module": "x"}),
                a_class(layers, "JaxLayer", {"call_fn": load_model}),
            ],
            # tar archives whose members lie outside of them (CVE-2025-12060)
            "path traversal": [
                a_function("keras.src.utils.file_utils", "extract_archive"),
                a_class(
                    "keras.metrics",
                    "MeanMetricWrapper",
                    {
                        "fn": a_function("keras.utils", "get_file"),
                        "origin": (folder / "slip.tar").as_uri(),
                        "extract": True,
                    },
                ),
            ],
        }


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[Any]]]:
    """An address, and those who have called it."""
    calls: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, who = listening.accept()
                except OSError:
                    return
                calls.append(who)
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        host, port = listening.getsockname()
        yield f"{host}:{port}", calls
        listening.shutdown(socket.SHUT_RDWR)


WAYS = (
    "CVE-2024-3660",
    "CVE-2025-1550",
    "CVE-2025-8747",
    "CVE-2025-9906",
    "CVE-2025-12058",
    "CVE-2026-1462",
    "path traversal",
)


@pytest.mark.parametrize("way", WAYS)
def test_a_published_way_around_safe_mode_is_refused_and_leaves_no_trace(
    way: str,
    content: bytes,
    tmp_path: Path,
    server: tuple[str, list[Any]],
    unsafe: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, calls = server
    folder = tmp_path / "attack"
    folder.mkdir()
    payloads = Payloads(folder, address).configs[way]
    before = sorted(p.name for p in tmp_path.rglob("*"))
    opened: list[str] = []
    own, path = keras.src.utils.file_utils.File, tmp_path / "model.keras"
    monkeypatch.setattr(
        keras.src.utils.file_utils,
        "File",
        lambda p, *a, **k: (opened.append(p), own(p, *a, **k))[1],
    )
    for config in payloads:
        for field in ("optimizer", "loss", "learning_rate", "metrics"):
            for form in ({"keras": config}, as_pairs(config)):
                form = [form] if field == "metrics" else form
                said = refused(path, with_field(content, field, form))
                assert f"fields: {field}: " in said
        # where a plugin, a dict of dicts or a field of one's own has it
        refused(path, with_field(content, "callbacks", [as_pairs({"name": "ema", "x": config})]))
        refused(path, with_field(content, "class_weight", {"dict": [["a", as_pairs(config)]]}))
        # as what an optimizer of Keras' own is made with
        nested = {"learning_rate": config, "name": "SGD"}
        outer = a_class("keras.optimizers", "SGD", nested, registered_name=None)
        refused(path, with_field(content, "optimizer", {"keras": outer}))
    path.unlink()
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "slipped").exists() and not (tmp_path / "slipped").exists()
    assert not calls and not opened
    assert keras.src.saving.serialization_lib.in_safe_mode() is False  # as the process had it


def test_the_architecture_in_a_file_is_never_read(content: bytes, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    found = mutated.members(content)
    model = a_class("keras.layers", "Lambda", {"name": "x", "function": a_lambda(mark)})
    path = tmp_path / "model.keras"
    path.write_bytes(mutated.with_json(content, lambda _: model, "config.json"))
    np.testing.assert_array_equal(Tiny.load(path).predict(X), Tiny.load(path).predict(X))
    del found["config.json"], found["metadata.json"]
    path.write_bytes(mutated.packed(found))
    assert Tiny.load(path).predict(X).shape == (8,)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../slipped", "/slipped", "a/../../slipped", "..\\slipped"])
def test_a_member_whose_name_leads_out_of_the_archive_is_refused(
    name: str, content: bytes, tmp_path: Path
) -> None:
    found = mutated.members(content) | {name: b"x"}
    assert "leads elsewhere" in refused(tmp_path / "model.keras", mutated.packed(found))
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("categories", ["/etc/hostname", ["a", 1], {"a": 1}, ["a", "a"]])
def test_the_categories_of_a_table_are_never_the_name_of_a_file(
    categories: Any, content: bytes, tmp_path: Path
) -> None:
    column = {"name": "c", "input": "c", "kind": "category", "categories": categories}
    table = {"columns": [column]}

    def change(meta: Any) -> None:
        meta["inputs"] = {**meta["inputs"], "table": table, "names": ["c"], "scaling": {}}

    said = refused(tmp_path / "model.keras", mutated.with_json(content, change))
    assert "inputs: table: columns[0] ('c'): categories" in said


# ---- classes of the user's ----------------------------------------------------------------------


@pytest.fixture
def registered() -> Iterator[type]:
    """A loss of another module, which the process has registered."""
    made = elsewhere("Odd", keras.losses.Loss)
    made.call = lambda self, y, p: keras.ops.mean(y - p)  # type: ignore[attr-defined]
    objects = keras.saving.get_custom_objects()
    objects["elsewhere>Odd"] = made
    yield made
    del objects["elsewhere>Odd"]


ODD = a_class("somewhere_else", "Odd", {"mark": "from the file"}, registered_name="elsewhere>Odd")


@pytest.mark.parametrize(
    "form",
    [
        {"keras": ODD},
        as_pairs(ODD),
        {"keras": a_class("keras.losses", "MeanSquaredError", {}, registered_name="elsewhere>Odd")},
        "elsewhere>Odd",
    ],
    ids=["config", "dict", "under a name of Keras'", "name"],
)
def test_a_registered_class_is_not_made_unless_the_caller_names_it(
    form: Any, registered: type, content: bytes, tmp_path: Path, unsafe: None
) -> None:
    path = tmp_path / "model.keras"
    said = refused(path, with_field(content, "loss", form))
    assert "custom_objects={'elsewhere>Odd': Odd}" in said
    assert not HERE
    if isinstance(form, str):
        return  # a field that is a name is looked up among Keras' own when a model is built
    named = Tiny.load(path, custom_objects={"elsewhere>Odd": registered})
    assert named.predict(X).shape == (8,)
    assert HERE and {name for name, _ in HERE} == {"Odd"}


@keras.saving.register_keras_serializable("tests")
class Mine(keras.losses.MeanSquaredError):
    """A loss of the module in which the Trainer is."""


def test_a_class_of_the_trainers_own_module_may_be_named(content: bytes, tmp_path: Path) -> None:
    config = keras.saving.serialize_keras_object(Mine())
    path = tmp_path / "model.keras"
    path.write_bytes(with_field(content, "loss", {"keras": config}))
    assert type(Tiny.load(path).loss) is Mine


def test_a_plugin_of_the_users_is_not_made_unless_the_caller_names_it(
    content: bytes, tmp_path: Path
) -> None:
    class Noting(Callback):
        mark: Any = None

        def __post_init__(self) -> None:
            HERE.append(self.mark)

    Noting.__module__ = "somewhere_else"
    register("noting_of_elsewhere")(Noting)
    path = tmp_path / "model.keras"
    for spec in (as_pairs({"name": "noting_of_elsewhere", "mark": 1}), "noting_of_elsewhere"):
        said = refused(path, with_field(content, "callbacks", [spec]))
        assert "custom_objects={'noting_of_elsewhere'" in said and not HERE
    loaded = Tiny.load(path, custom_objects={"noting_of_elsewhere": Noting})
    assert loaded.callbacks == ["noting_of_elsewhere"] and HERE


def test_custom_objects_must_be_classes_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    for wrong in ([Mine], {"Mine": "Mine"}, {1: Mine}):
        with pytest.raises(TypeError, match=r"custom_objects=.*write custom_objects=\{"):
            Tiny.load(path, custom_objects=wrong)  # type: ignore[arg-type]


# ---- what is ours and Keras' still loads --------------------------------------------------------


def array(value: Any, dtype: str) -> dict[str, Any]:
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}}


def made_of_keras() -> list[Any]:
    """An object of every optimizer, schedule, loss and metric of Keras that can be saved."""
    tries: list[dict[str, Any]] = [
        *({}, {"learning_rate": 0.1}, {"initial_learning_rate": 0.1, "decay_steps": 10}),
        {"inner_optimizer": keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 5))},
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9},
        {"initial_learning_rate": 0.1, "first_decay_steps": 10},
        {"boundaries": np.array([1, 2]), "values": [0.1, 0.2, 0.3]},
        *({"num_classes": 3}, {"num_classes": 3, "target_class_ids": [0]}),
        *({"recall": 0.5}, {"precision": 0.5}, {"sensitivity": 0.5}, {"specificity": 0.5}),
        {"fn": keras.metrics.binary_accuracy},
    ]
    found = []
    for module in (
        *(keras.optimizers, keras.optimizers.schedules),
        *(keras.losses, keras.metrics),
    ):
        for kind in vars(module).values():
            if not isinstance(kind, type) or kind.__name__ in ("Optimizer", "Loss", "Metric"):
                continue
            for arguments in tries:
                try:
                    made = kind(**arguments)
                    saving.to_json(made)
                except (TypeError, ValueError, NotImplementedError):
                    continue
                found.append(made)
                break
    return found


def test_every_optimizer_loss_metric_and_schedule_of_keras_comes_back(unsafe: None) -> None:
    allowed = Allowed(Tiny)
    found = made_of_keras()
    assert len(found) > 80
    for made in found:
        form = saving.to_json(made)
        back = allowed.make(copy.deepcopy(form["keras"]))  # Keras changes some in place
        assert type(back) is type(made)
        assert saving.to_json(back) == form


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("AUC", {"num_thresholds": 10**9}),
        ("MeanIoU", {"num_classes": 10**9}),
        ("Mean", {"name": {"class_name": "__numpy__", "config": {"value": "x", "dtype": "O"}}}),
        (
            "Mean",
            {"dtype": {"class_name": "__tensor__", "config": {"value": [1], "dtype": "string"}}},
        ),
    ],
)
def test_numbers_and_arrays_of_a_config_are_bounded(kind: str, config: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        Allowed(Tiny).make(a_class("keras.metrics", kind, config))


def test_loading_gives_what_was_saved_where_safe_mode_is_off(
    content: bytes, tmp_path: Path, unsafe: None
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = Tiny.load(path)
    assert loaded.optimizer == "sgd" and loaded.predict(X).shape == (8,)
