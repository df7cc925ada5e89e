"""walking: what user code holds is reached by its shortest path, and libraries are not entered."""

from __future__ import annotations

import collections
import functools
import logging
import types
import weakref
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.state.walking import NOT_STATE, attributes, is_saved, of_a_library, referred, walk


class Held:
    """An object that is looked for."""


class Slotted:
    __slots__ = ("inner", "unset")

    def __init__(self, inner: Any) -> None:
        self.inner = inner


GLOBAL = Held()


def uses_a_global() -> Any:
    return [GLOBAL for _ in range(1)]  # within code of its own


def path_of(target: Any, root: Any) -> str | None:
    return next((path for path, value in walk([("root", root)]) if value is target), None)


def method_of(held: Held) -> Any:
    class Owner:
        def __init__(self) -> None:
            self.held = held

        def method(self) -> None: ...

    return Owner().method


def closure_of(held: Held) -> Any:
    return lambda: held


def property_of(held: Held) -> Any:
    class Owner:
        @property
        def one(self) -> Held:
            return held

        @functools.cached_property
        def two(self) -> Held:
            return held

    return Owner()


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda held: {"a": [held]}, "root['a'][0]"),
        (lambda held: collections.deque([1, held]), "root[1]"),
        (lambda held: types.MappingProxyType({3: held}), "root[3]"),
        (lambda held: functools.partial(print, held, end=""), "root.args[0]"),
        (lambda held: functools.partial(print, end=held), "root.keywords['end']"),
        (Slotted, "root.inner"),
        (method_of, "root.__self__.held"),
        (closure_of, "root.held"),
        (lambda held: lambda x=held: x, "root.__defaults__[0]"),
        (property_of, "root.__class__.one.fget.held"),
        (lambda held: tf.function(closure_of(held)), "root.held"),
    ],
)
def test_an_object_is_found_by_the_shortest_path_to_it(make: Any, path: str) -> None:
    held = Held()
    assert path_of(held, make(held)) == path


def test_a_global_is_found_where_a_function_uses_it_also_in_code_within() -> None:
    assert path_of(GLOBAL, uses_a_global) == "root.GLOBAL"
    assert "GLOBAL" in referred(uses_a_global) and "Slotted" not in referred(uses_a_global)


def test_the_shorter_of_two_paths_counts_and_circles_end() -> None:
    held = Held()
    circle: list[Any] = [[held], None]
    circle[1] = circle
    held.back = circle  # type: ignore[attr-defined]
    found = list(walk([("long", [[circle]]), ("short", circle)]))
    assert [path for path, value in found if value is held] == ["short[0][0]"]
    assert len([value for _, value in found if value is circle]) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda held: [held] * 10_001,  # data
        lambda held: weakref.proxy(held),
        lambda held: logging.LogRecord("n", 0, "p", 0, "m", (held,), None),
        lambda held: types.ModuleType("module"),
    ],
)
def test_data_libraries_and_weak_references_are_not_entered(make: Any) -> None:
    held = Held()
    assert path_of(held, make(held)) is None


def test_numbers_text_and_arrays_are_not_even_listed() -> None:
    root = [1, 2.5, "text", b"bytes", None, True, np.zeros(3)]
    assert [value for _, value in walk([("root", root)])] == [root]


def test_objects_of_keras_are_entered_for_what_users_gave_them() -> None:
    held = Held()
    layer = keras.layers.Lambda(closure_of(held))
    assert path_of(held, layer) == "root.function.held"
    callback = keras.callbacks.LambdaCallback(on_epoch_end=closure_of(held))
    callback.set_model(keras.Sequential())
    assert not {"_model", "params", "model"} & set(attributes(callback))


def test_a_class_says_which_of_its_attributes_are_no_state() -> None:
    class Owner:
        def __init__(self, held: Held) -> None:
            self.kept, self.passed = 1, held

    setattr(Owner, NOT_STATE, {"passed"})
    held = Held()
    assert attributes(Owner(held)) == {"kept": 1}
    assert path_of(held, Owner(held)) is None
    assert attributes(Slotted(held)) == {"inner": held}, "a slot that is not set has no value"


def test_only_objects_that_change_in_their_variables_are_saved() -> None:
    for saved in (keras.layers.Dense(1), keras.metrics.Mean(), tf.Variable(1.0), tf.Module()):
        assert is_saved(saved)
    assert not is_saved(Held()) and not is_saved([tf.Variable(1.0)])
    assert of_a_library(np.mean) and of_a_library(keras.Model) and not of_a_library(Held)
