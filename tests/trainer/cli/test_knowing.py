"""`trainer callbacks` and `completion`: every name that a call may have is listed."""

from __future__ import annotations

import pytest

from trainer import cli
from trainer.callbacks import BUILT_IN
from trainer.cli.knowing import CALLBACKS, COMPLETION, DATASETS


def test_each_callback_is_listed_with_a_line_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert CALLBACKS.run({}) is None
    header, *lines = capsys.readouterr().out.splitlines()
    said = dict(line.split(maxsplit=1) for line in lines)
    assert header.split(maxsplit=1) == ["name", "what it does"]
    assert set(BUILT_IN) <= set(said)
    assert all(len(said[name].split()) > 2 for name in BUILT_IN)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_every_command_and_its_options(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert COMPLETION.run({"SHELL": shell}) is None
    script = capsys.readouterr().out
    for name in cli.names():
        assert name in script
        for argument in cli.find(name).arguments(()):
            assert argument.name.isupper() or f"--{argument.name}" in script, (name, argument.name)


def test_a_wait_for_hosts_that_is_no_time_is_refused_before_any_is_asked() -> None:
    with pytest.raises(ValueError, match="timeout=-1.0"):
        DATASETS.run({"timeout": -1.0})
