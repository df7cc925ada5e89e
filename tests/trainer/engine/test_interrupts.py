"""Signals during a training, in processes of their own: order, handlers, sub-processes, threads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm
from patience import WORK

from trainer import Classifier
from trainer.callbacks.callback import Callback
from trainer.engine.interrupts import Interrupts

# ---- the context by itself -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_handlers_are_restored(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts() as interrupts:
        assert interrupts.received is None
        os.kill(os.getpid(), number)
        assert interrupts.received == number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert f"{number.name}: stopping after the running dispatch" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as raised:
        interrupts.pass_on()
    if number == signal.SIGTERM:
        assert raised.value.code == 143


def test_without_a_signal_nothing_is_passed_on() -> None:
    with Interrupts() as interrupts:
        pass
    interrupts.pass_on()


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")
    assert signal.getsignal(signal.SIGINT) == before


def test_a_handler_of_the_users_own_is_called_after_the_training() -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
            assert called == []
        interrupts.pass_on()
        assert called == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_was_set_meanwhile_stays() -> None:
    def own(number: int, frame: Any) -> None:
        return None

    before = signal.getsignal(signal.SIGTERM)
    try:
        with Interrupts():
            signal.signal(signal.SIGTERM, own)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received is None
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_no_handler_is_set() -> None:
    seen = []

    def work() -> None:
        with Interrupts() as interrupts:
            seen.append(signal.getsignal(signal.SIGINT))
        interrupts.pass_on()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


FORKS = """
import multiprocessing, os, signal, sys, time
from trainer.engine.interrupts import Interrupts

def work(ready):
    try:
        ready.set()
        time.sleep(3600)
    except KeyboardInterrupt:
        os._exit(9)

def ended_by(number, daemon):
    ready = fork.Event()
    child = fork.Process(target=work, args=(ready,), daemon=daemon)
    child.start()
    assert ready.wait(300)
    os.kill(child.pid, number)
    child.join(1 if daemon and number == signal.SIGINT else 300)  # that one stays
    code = child.exitcode
    child.kill()
    return code

fork = multiprocessing.get_context("fork")
with Interrupts() as interrupts:
    print([ended_by(n, d) for n in (signal.SIGTERM, signal.SIGINT) for d in (False, True)])
    print(interrupts.received)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks_have_the_earlier_handlers_and_workers_leave_ctrl_c_to_their_parent() -> None:
    found = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=WORK, check=True
    )
    assert found.stdout.splitlines() == ["[-15, -15, 9, None]", "None"]


# ---- a training ----------------------------------------------------------------------------------


RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


class Signals(Callback):
    """Sends signals to its own process after the second batch of the second epoch."""

    every_n_batches = 1
    numbers: Any = ()

    def on_train_begin(self, logs: Any = None) -> None:
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        if self.batches == 6:
            for number in self.numbers:
                os.kill(os.getpid(), number)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}  # when signals come is no setting of the run


def _make(folder: Path, *numbers: int) -> Classifier:
    return Classifier(
        model="mlp",
        epochs=3,
        batch_size=16,
        random_state=1,
        verbose=0,
        run_dir=folder,
        callbacks=[Signals(numbers=numbers)],
    )


def _weights(trainer: Any) -> list[bytes]:
    return [w.tobytes() for w in trainer.model_.get_weights()]


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_and_leaves_a_usable_trainer_that_goes_on_exactly(
    number: int, raised: type[BaseException], tmp_path: Path
) -> None:
    before = _handlers()
    trainer = _make(tmp_path / "run", number)
    with pytest.raises(raised):
        trainer.fit(X, Y)
    assert _handlers() == before
    assert trainer.predict(X).shape == (64,)
    assert len(trainer.history_) == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["status"] == "stopped"
    trainer.fit(X, Y)  # as in a notebook, with the same objects
    log = (tmp_path / "run" / "run.log").read_text()
    assert f"ended by {raised.__name__}" in log
    assert "resumes from epoch 2, step 2" in log  # the batch after which the signal came
    assert len(trainer.history_) == 3
    assert _weights(trainer) == _weights(_make(tmp_path / "whole").fit(X, Y))


def test_without_a_run_directory_ctrl_c_leaves_a_usable_trainer() -> None:
    trainer = _make(Path()).set_params(run_dir=None)
    trainer.callbacks[0].numbers = [signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y)
    assert trainer.predict(X).shape == (64,) and len(trainer.history_) == 1


def test_a_second_ctrl_c_ends_a_training_at_once(tmp_path: Path) -> None:
    before = _handlers()
    trainer = _make(tmp_path, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y)
    assert _handlers() == before
    assert trainer.predict(X).shape == (64,)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1  # of the first epoch


def test_a_fit_in_a_thread_trains_as_any_other(tmp_path: Path) -> None:
    trainer = _make(tmp_path / "thread")
    thread = threading.Thread(target=trainer.fit, args=(X, Y))
    thread.start()
    thread.join()
    assert _weights(trainer) == _weights(_make(tmp_path / "main").fit(X, Y))


TERMINATED = """
import os, signal, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
from trainer import Classifier
from trainer.callbacks.callback import Callback

class End(Callback):
    def on_epoch_end(self, epoch, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)

x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
trainer = Classifier(model="mlp", epochs=3, verbose=0, run_dir=sys.argv[1], callbacks=[End()])
try:
    trainer.fit(x, (x[:, 0] > 0).astype(int))
finally:
    print("cleaned up")
print("never reached")
"""


def test_a_terminated_process_ends_in_order_with_143(tmp_path: Path) -> None:
    found = warm.run(TERMINATED, tmp_path)
    assert found.returncode == 143, found.stderr
    assert found.stdout == "cleaned up\n"
    assert "SIGTERM: stopping after the running dispatch" in found.stderr
    assert len(list((tmp_path / "checkpoints").iterdir())) >= 1
