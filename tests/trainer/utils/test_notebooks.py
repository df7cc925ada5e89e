"""notebooks: one output per cell, replaced in place and stored as HTML and as text."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from trainer.utils.notebooks import Output, displays_dropped, in_notebook


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Any:
    """IPython's shell in a kernel, as far as displaying goes."""
    made = InteractiveShell.__new__(InteractiveShell)
    made.display_pub = CapturingDisplayPublisher()
    made.kernel = SimpleNamespace()
    monkeypatch.setattr(InteractiveShell, "_instance", made)
    return made


def test_a_program_is_a_notebook_only_in_a_kernel(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_notebook()
    shell.kernel = None  # IPython on a terminal
    assert not in_notebook()
    monkeypatch.setattr(InteractiveShell, "_instance", None)
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook() and "IPython" not in sys.modules, "it is not imported for that"


def test_an_output_appears_once_and_is_then_replaced(shell: Any) -> None:
    output = Output()
    assert shell.display_pub.outputs == []
    output.show("a < b\nc", 0.25)
    output.show("done")
    first, second = shell.display_pub.outputs
    assert not first["update"] and second["update"]
    assert first["transient"] == second["transient"] != {}
    assert first["data"]["text/plain"] == "a < b\nc"
    assert '<progress value="0.2500" max="1"' in first["data"]["text/html"]
    assert "a &lt; b" in first["data"]["text/html"]
    assert "<progress" not in second["data"]["text/html"]


def test_two_outputs_have_places_of_their_own(shell: Any) -> None:
    Output().show("one", 0.0)
    Output().show("two")
    one, two = shell.display_pub.outputs
    assert one["transient"] != two["transient"] and not two["update"]
    assert 'value="0.0000"' in one["data"]["text/html"], "no share is no bar, but none done is one"


def test_within_the_context_nothing_is_shown_and_after_it_everything_is(shell: Any) -> None:
    publisher = shell.display_pub
    with displays_dropped():
        Output().show("dropped")
    Output().show("shown")
    assert shell.display_pub is publisher
    assert [each["data"]["text/plain"] for each in publisher.outputs] == ["shown"]


def test_outside_of_a_notebook_the_context_leaves_output_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with displays_dropped():
        print("printed")
    assert capsys.readouterr().out == "printed\n"
