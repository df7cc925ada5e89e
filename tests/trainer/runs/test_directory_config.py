"""The files of a run that were altered: one error that names the folder and the entry."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutated
import mutated_models
import numpy as np
import pytest

from trainer.callbacks import folders
from trainer.runs import directory
from trainer.runs.directory import RunError
from trainer.runs.lock import Hold, InUse
from trainer.state.state_file import BadState, from_bytes, to_bytes

X, Y = mutated_models.X, mutated_models.Y


@pytest.fixture(autouse=True)
def _unwritten_fields() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "callbacks=.*cannot be written to a file")
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mutated_models.unfinished(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def folder(files: dict[Path, bytes], tmp_path: Path) -> Path:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def resume(folder: Path) -> Any:
    return mutated_models.resumed(folder).fit(X, Y, validation_data=(X, Y))


def altered(folder: Path, name: str, change: Any) -> None:
    value = json.loads((folder / name).read_text())
    made = change(value)
    (folder / name).write_text(json.dumps(value if made is None else made))


def _deep(config: Any) -> None:
    for _ in range(900):
        config["fields"] = [config["fields"]]


ENTRIES: dict[str, Any] = {
    "format is 'x'": lambda c: c.update(format="x"),
    "format is -1": lambda c: c.update(format=-1),
    "fields is []": lambda c: c.update(fields=[]),
    "source is []": lambda c: c.update(source=[]),
    "fields lacks 'epochs'": lambda c: c.update(fields={}),
    "fields: epochs is 'x'": lambda c: c["fields"].update(epochs="x"),
    "data is None": lambda c: c.update(data=None),
    "data lacks 'validation'": lambda c: c.update(data={"training": None}),
    "data: training is 5": lambda c: c["data"].update(training=5),
    "run is '../..'": lambda c: c.update(run="../.."),
    "run is 5": lambda c: c.update(run=5),
    "seed is -3": lambda c: c.update(seed=-3),
    "seed is nan": lambda c: c.update(seed=float("nan")),
    "status is 'done'": lambda c: c.update(status="done"),
    "class is None": lambda c: c.update({"class": None}),
    "its content lacks 'seed'": lambda c: {k: c[k] for k in c if k != "seed"},
    "is a dict": None,
    "nested deeper than 64 levels": _deep,
}


@pytest.mark.parametrize("said", ENTRIES)
def test_an_entry_of_config_json_that_no_run_wrote_is_named(said: str, folder: Path) -> None:
    change = ENTRIES[said]
    if said == "is a dict":
        change, said = (lambda config: [config]), "it must be a dict"
    altered(folder, "config.json", change)
    before = (folder / "config.json").read_bytes()
    with pytest.raises(RunError) as caught:
        resume(folder)
    text = str(caught.value)
    assert text.startswith(f"run_dir={str(folder)!r}: its config.json was not written by a run: ")
    assert said in text and "write another run_dir" in text
    assert (folder / "config.json").read_bytes() == before
    assert directory.finished_epochs(folder) is None


def test_what_the_command_line_wrote_is_kept_when_a_run_is_resumed(folder: Path) -> None:
    source = {"data": "house.csv", "trainer": "Regressor"}
    altered(folder, "config.json", lambda config: {**config, "source": source})
    resume(folder)
    assert json.loads((folder / "config.json").read_text())["source"] == source


def test_a_run_of_a_later_version_is_named(folder: Path) -> None:
    altered(folder, "config.json", lambda config: config.update(format=99))
    with pytest.raises(
        RunError, match=r"config\.json has format 99, but this version reads only up to"
    ):
        resume(folder)


@pytest.mark.parametrize(
    "content", [None, "[", "[]", '{"packages": 5}', '{"packages": {"keras": 1}}']
)
def test_versions_that_cannot_be_read_are_said_to_be_unknown(
    content: str | None, folder: Path
) -> None:
    path = folder / "environment.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.warns(UserWarning, match="is not known; the run may not resume exactly"):
        resume(folder)


@pytest.mark.parametrize(
    "content", ["[" * 5_000, "[]", '{"process": "\\u001b[2J", "since": [[1]]}']
)
def test_who_holds_a_folder_is_told_whatever_its_note_says(content: str, tmp_path: Path) -> None:
    held = Hold(tmp_path)
    (tmp_path / ".holder.json").write_text(content)
    with pytest.raises(InUse, match="^process .* on .* has been using it since") as caught:
        Hold(tmp_path)
    assert "\x1b" not in str(caught.value)
    held.release()


@pytest.mark.parametrize("content", ["[" * 5_000, "[]", '{"run": 5}', "{}"])
def test_a_note_of_whose_folder_it_is_that_is_none_is_another_runs(
    content: str, folder: Path
) -> None:
    (folder / "checkpoints" / folders._OWNER).write_text(content)
    with pytest.raises(ValueError, match=r"holds epoch-0001-.* of another run"):
        resume(folder)


# ---- states whose checksum is right -------------------------------------------------------------


def states(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("state-*"))


def with_states(folder: Path, change: Any) -> None:
    for path in states(folder):
        values, tensors = from_bytes(path.read_bytes())
        change(values, tensors)
        path.write_bytes(to_bytes(values, tensors))


def _callback(values: Any, name: str, attribute: str, value: Any) -> None:
    for entry in values["callbacks"]:
        if entry["class"] == name:
            pairs = dict(entry["state"]["dict"]) | {attribute: value}
            entry["state"]["dict"] = [[k, v] for k, v in pairs.items()]


STATES: dict[str, Any] = {
    "filepath": lambda v, t: _callback(v, "EarlyStopping", "filepath", "/elsewhere"),
    "model": lambda v, t: _callback(v, "ReduceLROnPlateau", "model", 5),
    "on_epoch_end": lambda v, t: _callback(v, "Counts", "on_epoch_end", 5),
    "wait": lambda v, t: _callback(v, "ReduceLROnPlateau", "wait", "x"),
    "is not a file that the plugin writes": lambda v, t: _callback(
        v,
        "Checkpoint",
        "kept",
        [{"dict": [["epoch", 1], ["value", 0.5], ["file", "../../model.keras"]]}],
    ),
    "does not describe a value": lambda v, t: v["callbacks"][1].update(state={"object": 1}),
    "the run had the callbacks": lambda v, t: v["callbacks"].pop(),
    "its position is epoch 1000000": lambda v, t: v["position"].update(epoch=10**6),
    "its position is epoch 1, step 99": lambda v, t: v["position"].update(epoch=1, step=99),
    "the state has no suitable value for": lambda v, t: t.update({"variable/0": np.zeros(9, "f4")}),
    "differ": lambda v, t: v["variables"].pop(),
}


@pytest.mark.parametrize("said", STATES)
def test_a_state_that_does_not_fit_is_one_error_that_names_the_folder(
    said: str, folder: Path
) -> None:
    with_states(folder, STATES[said])
    before = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(BadState) as caught:
        resume(folder)
    assert str(caught.value).startswith(f"run_dir={str(folder)!r}: its state cannot be used: ")
    assert said in str(caught.value)
    assert sorted(p.name for p in folder.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda v, t: v.update(format="x"),
        lambda v, t: v.update(forms=5),
        lambda v, t: v.update(forms={"variable/0": ["getattr", [1]]}),
        lambda v, t: v.update(forms={"variable/0": ["bfloat16", [10**9]]}),
        lambda v, t: v.update(position=5),
        lambda v, t: v["position"].update(epoch=-1),
        lambda v, t: v["position"].update(more=1),
        lambda v, t: v.update(history=[{"epoch": "x"}]),
        lambda v, t: v.update(history={}),
        lambda v, t: v.update(callbacks=[5]),
        lambda v, t: v.update(variables=[["a"]]),
        lambda v, t: v.pop("run"),
        lambda v, t: v.pop("callbacks"),
    ],
)
def test_a_state_of_another_form_is_not_used(change: Any, folder: Path) -> None:
    with_states(folder, change)
    with (
        pytest.warns(UserWarning, match=r"state-.* cannot be used: "),
        pytest.raises(BadState, match="none of the states in it can be used") as caught,
    ):
        resume(folder)
    assert str(folder) in str(caught.value)


def test_the_header_of_a_state_is_no_longer_than_the_file(folder: Path) -> None:
    content = states(folder)[0].read_bytes()
    for length in (2**63, 2**40, len(content), len(content) - 7):
        with pytest.raises(BadState, match="truncated or altered"):
            from_bytes(length.to_bytes(8, "little") + content[8:])
    deep = b'{"__metadata__":' + b"[" * 5_000
    with pytest.raises(BadState, match="truncated or altered"):
        from_bytes(len(deep).to_bytes(8, "little") + deep)
    for seed in range(200):
        try:
            from_bytes(mutated.change_state(content, random.Random(seed)))
        except (BadState, UnicodeEncodeError, TypeError, ValueError) as error:
            assert isinstance(error, BadState) or "surrogate" in str(error)
