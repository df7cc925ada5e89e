"""labels: as many names as a data set has classes, each once, in the order of its labels."""

import pytest

from trainer.datasets import labels

COUNTS = {"DIGITS": 10, "FASHION_MNIST": 10, "CIFAR10": 10, "CIFAR100": 100}
COUNTS |= {"IMDB": 2, "REUTERS": 46}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_every_class_has_one_name_of_its_own(name, count):
    names = getattr(labels, name)
    assert len(names) == len(set(names)) == count
    assert all(isinstance(each, str) and each == each.strip() != "" for each in names)


def test_every_list_of_names_is_among_these():
    assert {name for name in vars(labels) if name.isupper()} == set(COUNTS)


@pytest.mark.parametrize("names", [labels.CIFAR10, labels.CIFAR100, labels.DIGITS])
def test_the_names_are_sorted_where_their_publisher_numbered_them_so(names):
    assert names == sorted(names)
