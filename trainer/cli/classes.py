"""Which class a command trains or loads: `Regressor`, `package.module:Class` or `file.py:Class`.

Responsible for finding it, for its fields as arguments, and for what a run says of its class.
Classes are imported only where one is needed.
"""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli import trust
from trainer.cli.command import WrongCall
from trainer.cli.signatures import Argument, of_class, of_source
from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    from trainer.base import Trainer

OWN = ("Classifier", "Regressor", "Trainer")
_PLACES = {
    "Trainer": (("trainer.base", "Trainer"),),
    "Regressor": (("trainer.base", "Trainer"),),
    "Classifier": (("trainer.base", "Trainer"), ("trainer.estimators", "Classifier")),
}
_EXAMPLE = "write --trainer file.py:Class or --trainer package.module:Class"


def fields(words: Sequence[str]) -> list[Argument]:
    """Return the fields of the class that the words of a call name, as arguments.

    Without a class they are those of Classifier, which has all that Regressor has.

    Raises:
        WrongCall: There is no such class, or a field has the name of an option.
    """
    place = named(words)
    if place is None or place in OWN:
        return of_source(*_PLACES[place or "Classifier"])
    return of_class(found(place))


def named(words: Sequence[str]) -> str | None:
    """Return what the words of a call, or its configuration file, say as `trainer`; or None."""
    place: str | None = None
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in ("--trainer", "--config"):
            value = value if equals else "".join(words[i + 1 : i + 2])
            place = value if flag == "--trainer" else _in_file(value, place)
    return place


def _in_file(path: str, before: str | None) -> str | None:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return before  # the parser will report it
    place = content.get("trainer") if isinstance(content, Mapping) else None
    return place if isinstance(place, str) else before


def found(place: str) -> type[Trainer]:
    """Return a class, and import its module.

    Args:
        place: "Classifier", "Regressor" or "Trainer"; "package.module:Class" or "file.py:Class".

    Raises:
        WrongCall: There is no such class, or it is not a Trainer.
    """
    from trainer import base, estimators

    if place in OWN:
        own: type[Trainer] = getattr(base if place == "Trainer" else estimators, place)
        return own
    module, colon, name = place.rpartition(":")
    if not colon or not module or not name:
        raise WrongCall(
            f"--trainer {place}: must be Classifier, Regressor, or a class of your own; {_EXAMPLE}"
        )
    loaded = _file(Path(module).expanduser()) if module.endswith(".py") else _module(module)
    cls = getattr(loaded, name, None)
    if not isinstance(cls, type) or not issubclass(cls, base.Trainer):
        classes = [
            n
            for n, value in vars(loaded).items()
            if isinstance(value, type)
            and issubclass(value, base.Trainer)
            and value.__module__ == loaded.__name__
        ]
        what = "has no" if cls is None else "is not a subclass of Trainer, Classifier or Regressor:"
        raise WrongCall(f"--trainer {place}: {module} {what} {name}; {did_you_mean(name, classes)}")
    return cls


def absolute(place: str) -> str:
    """Return what names a class from any folder."""
    module, colon, name = place.rpartition(":")
    if colon and module.endswith(".py"):
        return f"{Path(module).expanduser().resolve()}:{name}"
    return place


def of_run(config: Mapping[str, Any], folder: Path, given: str | None) -> type[Trainer]:
    """Return the class of a run.

    Args:
        config: Its config.json.
        folder: Its folder.
        given: What the call says, or None for what the run says.

    Raises:
        WrongCall: The run is of a class of the user's, and nothing says where it is.
    """
    source = config.get("source", {})
    recorded = source.get("trainer")
    if given is None and isinstance(recorded, str):
        # the sender of a run must not be able to have code executed
        if recorded not in OWN and not trust.is_marked(source):
            raise WrongCall(
                f"{folder}: says that its class is {recorded}, but was not trained by you on this "
                f"machine; if you trust this code, write --trainer {shlex.quote(recorded)}"
            )
        given = recorded
    if given is None:
        given = str(config["class"])
        if given not in OWN:
            raise WrongCall(
                f"{folder}: was trained from Python, by the class {given}; write "
                f"--trainer file.py:{given} to say where that is"
            )
    cls = found(given)
    if cls.__name__ != config["class"]:
        name = config["class"]
        remedy = (
            f"write --trainer {name}, or leave it out"
            if name in OWN
            else f"write --trainer file.py:{name}, with the file that has it"
        )
        raise WrongCall(f"--trainer {given}: the run {folder} is of the class {name}; {remedy}")
    return cls


def _module(name: str) -> Any:
    sys.path[:0] = [] if "" in sys.path or str(Path.cwd()) in sys.path else [str(Path.cwd())]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise
        raise WrongCall(
            f"--trainer {name}: there is no module {error.name!r}; {_EXAMPLE}"
        ) from None


def _file(path: Path) -> Any:
    if not path.is_file():
        raise WrongCall(f"--trainer {path}: there is no such file; {_EXAMPLE}")
    path = path.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if not path.stem.isidentifier() or importlib.util.find_spec(path.stem) is not None:
        other = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
        if other is None or other.origin is None or Path(other.origin).resolve() != path:
            raise WrongCall(
                f"--trainer {path}: Python has another module {path.stem!r}, or this is not a "
                "valid module name; rename the file, for example to my_trainer.py"
            )
    # as for a script, which can import what is beside it
    sys.path[:0] = [] if str(path.parent) in sys.path else [str(path.parent)]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
