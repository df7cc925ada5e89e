"""Fields: annotated class attributes as keyword arguments, inherited, with domains."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from sklearn.base import clone

from trainer import Bool, Choice, Classifier, Float, Int, Regressor, Trainer


class Parent(Classifier):
    hidden: Annotated[int, Int(32, 512, log=True)] = 300
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.0
    rates: ClassVar[dict[str, float]] = {"low": 0.1}
    plain = 3


class Child(Parent):
    activation: Annotated[str, Choice("relu", "selu")] = "relu"
    hidden = 100
    epochs = 20


class OwnInit(Classifier):
    def __init__(self, units: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Makes a module of source code: string annotations mean what its names mean."""

    def make(source: str) -> ModuleType:
        path = tmp_path / "users_module.py"
        path.write_text("from __future__ import annotations\n" + source, "utf-8")
        spec = importlib.util.spec_from_file_location("users_module", path)
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "users_module", made)
        spec.loader.exec_module(made)
        return made

    return make


# ---- defaults and inheritance ---------------------------------------------------------------


def test_a_field_has_its_default_until_it_is_given_by_name() -> None:
    assert Parent().hidden == 300
    assert Parent(hidden=64).hidden == 64


def test_a_subclass_inherits_fields_and_adds_its_own() -> None:
    child = Child(dropout=0.25, activation="selu", batch_size=8)
    assert (child.dropout, child.activation, child.batch_size) == (0.25, "selu", 8)


def test_a_default_without_annotation_replaces_the_inherited_one() -> None:
    assert (Child().epochs, Child().hidden) == (20, 100)
    assert (Parent().epochs, Parent().hidden) == (None, 300)
    assert Child(epochs=3).epochs == 3
    assert "epochs=20" not in repr(Child()), "it is the default of this class"


def test_a_default_with_annotation_replaces_the_inherited_one() -> None:
    class Longer(Child):
        epochs: int = 40

    assert (Longer().epochs, Longer(epochs=1).epochs) == (40, 1)


def test_parameters_are_the_fields_and_nothing_else() -> None:
    names = set(Child().get_params())
    assert names - set(Classifier().get_params()) == {"hidden", "dropout", "activation"}
    assert set(Trainer().get_params()) == set(Regressor().get_params())


def test_two_parents_give_a_child_the_fields_of_both() -> None:
    class Mixin(Trainer):
        noise: float = 0.5

    class Both(Mixin, Parent):
        pass

    both = Both(noise=0.1, hidden=32)
    assert (both.noise, both.hidden, both.dropout) == (0.1, 32, 0.0)


def test_a_class_variable_is_no_field() -> None:
    with pytest.raises(TypeError, match="plain class attribute"):
        Parent(rates={})
    assert "rates" not in Parent().get_params()


# ---- wrong names ----------------------------------------------------------------------------


def test_an_unknown_field_lists_near_names() -> None:
    with pytest.raises(TypeError, match=r"Child\(hiden=...\): .* did you mean 'hidden'\?"):
        Child(hiden=3)


def test_a_plain_class_attribute_is_said_to_need_an_annotation() -> None:
    with pytest.raises(TypeError, match="'plain' is a plain class attribute.*`plain: int = 3`"):
        Parent(plain=4)


def test_positional_arguments_are_refused_with_the_way_to_write_them() -> None:
    with pytest.raises(TypeError, match=r"Parent\('mlp'\): .* by name.* Parent\(model='mlp'\)"):
        Parent("mlp")  # type: ignore[misc]


def test_set_params_lists_near_names_and_changes_nothing() -> None:
    child = Child()
    with pytest.raises(ValueError, match="'epoch'.*did you mean 'epochs'"):
        child.set_params(hidden=32, epoch=3)
    assert child.hidden == 100


def test_a_list_as_default_is_refused_with_the_tuple_to_write() -> None:
    with pytest.raises(ValueError, match=r"Bad.metrics = \['mae'\].*write metrics = \('mae',\)"):

        class Bad(Regressor):
            metrics = ["mae"]


def test_a_dict_as_default_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"write class_weight = None.*Bad\(class_weight=\{0: 2\}"):

        class Bad(Classifier):
            class_weight = {0: 2}


def test_a_field_without_default_must_be_given() -> None:
    class Needs(Classifier):
        width: int

    with pytest.raises(TypeError, match="'width'"):
        Needs()
    assert Needs(width=3).width == 3


# ---- an __init__ of one's own ---------------------------------------------------------------


def test_an_init_of_ones_own_takes_every_field_beside_its_arguments() -> None:
    own = OwnInit(7, epochs=50)
    assert (own.units, own.epochs) == (7, 50)
    assert own.get_params()["epochs"] == 50


def test_a_clone_keeps_fields_that_an_init_of_ones_own_passed_on() -> None:
    copy = clone(OwnInit(units=7, epochs=50))
    assert (copy.units, copy.epochs) == (7, 50)


def test_an_init_without_keywords_has_its_own_arguments_only() -> None:
    class Narrow(Classifier):
        def __init__(self, units: int = 5) -> None:
            super().__init__(epochs=2)
            self.units = units

    assert Narrow(3).get_params() == {"units": 3}
    assert clone(Narrow(3)).epochs == 2


def test_an_unknown_field_names_the_class_with_the_init_of_its_own() -> None:
    with pytest.raises(TypeError, match=r"OwnInit\(unitz=...\): .* did you mean 'units'\?"):
        OwnInit(unitz=3)


# ---- values of NumPy ------------------------------------------------------------------------


def test_numpys_scalars_are_pythons_while_asked_for_and_then_as_they_were_set() -> None:
    hidden, activation = np.int64(64), np.str_("selu")
    child = Child(hidden=hidden, activation=activation, dropout=0.5)
    with pytest.raises(KeyError), child.python_scalars():
        assert (type(child.hidden), type(child.activation)) == (int, str)
        assert (child.hidden, child.activation, child.dropout) == (64, "selu", 0.5)
        raise KeyError
    assert child.hidden is hidden
    assert child.activation is activation


# ---- domains --------------------------------------------------------------------------------


def test_domains_are_those_of_the_annotations_in_order() -> None:
    assert list(Child.domains().items()) == [
        ("hidden", Int(32, 512, log=True)),
        ("dropout", Float(0.0, 0.5)),
        ("activation", Choice("relu", "selu")),
    ]
    assert Classifier.domains() == {}


def test_a_new_annotation_replaces_the_domain() -> None:
    class Narrower(Parent):
        hidden: Annotated[int, Int(32, 64)] = 48
        dropout: float = 0.1

    assert Narrower.domains() == {"hidden": Int(32, 64)}


def test_an_annotation_may_hold_more_than_the_domain() -> None:
    class Documented(Classifier):
        bias: Annotated[bool, "whether units have a bias", Bool()] = True

    assert Documented.domains() == {"bias": Bool()}


def test_domains_are_found_where_annotations_are_text(module: Callable[[str], ModuleType]) -> None:
    users = module(
        "from typing import Annotated\n"
        "from trainer import Classifier, Int\n"
        "class Mine(Classifier):\n"
        "    units: Annotated[int, Int(8, 64)] = 16\n"
    )
    assert users.Mine.domains() == {"units": Int(8, 64)}


def test_a_new_default_needs_no_names_of_the_parents_module(
    module: Callable[[str], ModuleType],
) -> None:
    users = module(
        "from trainer import Classifier\n"
        "class Mine(Classifier):\n"
        "    callbacks = ()\n"
        "    optimizer = 'sgd'\n"
    )
    assert users.Mine.domains() == {}
    assert users.Mine().optimizer == "sgd"


def test_an_annotation_with_an_unknown_name_says_where_to_import_it(
    module: Callable[[str], ModuleType],
) -> None:
    users = module(
        "from typing import TYPE_CHECKING\n"
        "from trainer import Classifier\n"
        "if TYPE_CHECKING:\n"
        "    import numpy as np\n"
        "class Mine(Classifier):\n"
        "    units: np.int64 = 3\n"
    )
    assert users.Mine().units == 3
    with pytest.raises(NameError, match="Mine: .*'np'.*import it there.*outside"):
        users.Mine.domains()
