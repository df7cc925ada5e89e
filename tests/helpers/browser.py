"""A headless Chromium that opens pages: what they show, clicks, and the errors of their console.

It is driven by Chromium's own protocol over a pipe, so that no library and no port is needed.
Responsible for the browser alone, not for what a page should show.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from patience import SECONDS

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--window-size=1280,1600", "--hide-scrollbars"),
)
# Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
_START = """
import os, sys
reads, writes = (os.dup(int(word)) for word in sys.argv[1:3])
high = [os.dup2(fd, 100 + fd) for fd in (reads, writes)]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.closerange(5, 400)
os.execv(sys.argv[3], sys.argv[3:])
"""
# The text that a page shows, with that in the shadow trees of its elements.
_TEXT = """(() => {
  const parts = [];
  const visit = (node) => {
    if (node.nodeType === 3) { parts.push(node.data); return; }
    if (node.nodeType === 1) {
      if (['STYLE', 'SCRIPT', 'TEMPLATE', 'NOSCRIPT'].includes(node.tagName)) return;
      const style = getComputedStyle(node);
      if (style.display === 'none' || style.visibility === 'hidden') return;
      if (node.tagName === 'SLOT' && node.assignedNodes().length) {
        node.assignedNodes().forEach(visit); return;
      }
    }
    for (const child of (node.shadowRoot || node).childNodes) visit(child);
    if (node.nodeType === 1) parts.push('\\n');
  };
  visit(document.body);
  return parts.join(' ').replace(/[ \\t]+/g, ' ').replace(/\\s*\\n\\s*/g, '\\n');
})()"""
# All elements that a selector finds, also in shadow trees.
_ALL = """
const all = (selector, root = document) => {
  const found = [...root.querySelectorAll(selector)];
  for (const node of root.querySelectorAll('*'))
    if (node.shadowRoot) found.push(...all(selector, node.shadowRoot));
  return found;
};
"""


def program() -> str | None:
    """Return the path of Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A browser with one page.

    Attributes:
        errors: The errors that pages have written to their console.
        requests: The addresses that pages have asked for, once Network.enable was sent.
    """

    def __init__(self) -> None:
        found = program()
        assert found is not None, "skip the test without Chromium"
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-S", "-c", _START, str(there), str(back), found),
                *(*FLAGS, f"--user-data-dir={self._home.name}", "about:blank"),
            ],
            pass_fds=(there, back),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        made = self.ask("Target.createTarget", url="about:blank")
        attached = self.ask("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._home.cleanup()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._next(until)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, url: str | Path) -> None:
        """Open a page, by its address or its file."""
        address = Path(url).resolve().as_uri() if isinstance(url, Path) else url
        answer = self.ask("Page.navigate", url=address)
        assert "errorText" not in answer, answer

    def run(self, script: str) -> Any:
        """Return the value of an expression; `all(selector)` finds elements in shadow trees too."""
        code = f"(() => {{ {_ALL} return ({script}); }})()"
        answer = self.ask("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """Return the text that the page shows."""
        shown: str = self.ask("Runtime.evaluate", expression=_TEXT)["result"].get("value", "")
        return shown

    def wait(self, ready: Callable[[], Any], what: str) -> Any:
        """Ask until the answer is true, and return it."""
        until = time.monotonic() + SECONDS
        while True:
            answer = ready()
            if answer:
                return answer
            assert time.monotonic() < until, f"{what} is not shown, but: {self.text()[:3000]}"
            time.sleep(0.1)

    def wait_for(self, *words: str) -> str:
        """Wait until the page shows all these words, and return its text."""

        def shown() -> str:
            text = self.text()
            return text if all(word in text for word in words) else ""

        found: str = self.wait(shown, " and ".join(words))
        return found

    def move(self, x: float, y: float) -> None:
        """Move the mouse there."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Click there with the mouse."""
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """Write what is seen to a .png file."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(until - time.monotonic(), 0))
            assert ready, "Chromium does not answer"
            read = os.read(self._from, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
