"""Notebook output that is updated in place while something runs, without widgets.

The last state is stored in the notebook as HTML and as text: it is still there when the file is
opened again, also by programs that run nothing.
Responsible for putting it there. Not for what it says.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from trainer.utils.drawings import as_text


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def displays_dropped() -> AbstractContextManager[Any]:
    """Return a context within which nothing is shown in a notebook.

    Keras makes the text of a model's summary with rich, which shows an empty output meanwhile.
    """
    if not in_notebook():
        return nullcontext()
    from IPython.utils.capture import capture_output

    captured: AbstractContextManager[Any] = capture_output()
    return captured


class Output:
    """A place in the output of the current cell. It appears with the first `show`."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str, share: float | None = None) -> None:
        """Replace what is shown.

        Args:
            text: Lines of text.
            share: From 0 to 1 for a bar above the text; None for none.
        """
        from IPython.display import display

        bar = ""
        if share is not None:
            bar = f'<progress value="{share:.4f}" max="1" style="width: 20em"></progress>'
        content = {"text/html": f"<div>{bar}{as_text(text)}</div>", "text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
