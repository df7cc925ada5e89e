"""Whether a run names its class because this user trained it, or because somebody else says so.

Responsible for a key that only this user can read, and for signing with it (HMAC). A run folder
may come from anybody, and must not decide which code is executed: a user-defined class is imported
only if the run is signed by this user, or if the call names the class.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BYTES = 32


def mark(source: Mapping[str, Any]) -> str | None:
    """Return the mark for what a run is made from; None where no key can be kept.

    Args:
        source: The entry of config.json, as JSON.
    """
    key = _key(make=True)
    return None if key is None else _mark(key, source)


def is_marked(source: Mapping[str, Any]) -> bool:
    """Whether the entry of a config.json bears the mark of this user, and was not altered since."""
    key, found = _key(make=False), source.get("mark")
    if key is None or not isinstance(found, str):
        return False
    return hmac.compare_digest(_mark(key, source).encode(), found.encode())


def _mark(key: bytes, source: Mapping[str, Any]) -> str:
    content = {name: value for name, value in source.items() if name != "mark"}
    text = json.dumps(content, sort_keys=True).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def _key(*, make: bool) -> bytes | None:
    """Return the key of this user; None if there is none, or if others could read it."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    path = Path(home) / "exact-trainer" / "key"
    try:
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = path.with_name(f"key-{secrets.token_hex(8)}")
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_BYTES))
            try:
                os.link(made, path)  # unlike a renaming, this replaces no key of another process
            except FileExistsError:
                pass
            finally:
                made.unlink()
        key = path.read_bytes()
        others = os.name == "posix" and path.stat().st_mode & 0o077
    except OSError:
        return None  # the caller then asks the user to name the class
    return None if others or len(key) != _BYTES else key
