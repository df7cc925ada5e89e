"""The kinds of options: what each takes, in which type it gives it back, and what it refuses."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from trainer.models import ARCHITECTURES, options


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (options.whole(1, 8), np.int64(3), 3),
        (options.whole(0, 8), 0, 0),
        (options.among(None, "gru"), None, None),
        (options.among(None, "gru"), "gru", "gru"),
        (options.optional(options.whole(1, 8)), None, None),
        (options.optional(options.whole(1, 8)), 2, 2),
        (options.from_0, 0, 0.0),
        (options.widths, [np.int32(4), 2], (4, 2)),
        (options.widths, (), ()),
        (options.keras_activation, np.str_("relu"), "relu"),
    ],
)
def test_a_value_is_given_back_in_pythons_own_type(
    kind: options.Kind, value: Any, found: Any
) -> None:
    made = kind("option", value)
    assert made == found and type(made) is type(found)


@pytest.mark.parametrize(
    ("kind", "value", "error", "says"),
    [
        (options.whole(2, 8), 1, ValueError, "must be 2 or more; write option=8"),
        (options.whole(2, 8), True, TypeError, "must be a whole number, such as option=8"),
        (options.among(None, "gru"), "lstm", ValueError, "must be one of None, 'gru'"),
        (options.optional(options.whole(1, 8)), "a", TypeError, "must be a whole number"),
        (options.from_0, -0.5, ValueError, "must be a finite number, 0 or more"),
        (options.widths, (4, 0), ValueError, "must be a tuple of whole numbers from 1, such as"),
        (options.widths, "4", TypeError, "must be a tuple of whole numbers from 1, such as"),
        (options.keras_activation, "rellu", ValueError, "no such activation; did you mean 'relu'"),
        (options.keras_activation, None, TypeError, "must be the name of an activation of Keras"),
    ],
)
def test_another_value_is_refused_with_what_to_write(
    kind: options.Kind, value: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=f"^option=.*{says}"):
        kind("option", value)


def test_every_option_of_every_architecture_has_a_kind_that_takes_its_default() -> None:
    for architecture in ARCHITECTURES.values():
        assert set(architecture.kinds) == set(architecture.options)
        for name, default in architecture.options.items():
            assert architecture.kinds[name](name, default) == default
            pickle.dumps(architecture.kinds[name])
