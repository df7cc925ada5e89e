"""images: the published splits and pixels, and files that hold something else."""

import numpy as np
import pytest

from trainer import datasets
from trainer.datasets import images


def test_every_image_set_names_its_files():
    assert set(images.published()) == set(images.LOADERS)
    names = [file.name for files in images.published().values() for file in files]
    assert len(names) == len(set(names)) == 7


def test_the_split_is_fixed_whatever_the_seed(published):
    published.mnist()
    one, other = images.mnist(0), images.mnist(1)
    for a, b in zip(one.train + one.valid, other.train + other.valid, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_three_planes_of_a_cifar_image_become_its_colours(published, monkeypatch):
    def red_above_blue(n, shape, classes):
        pixels = np.zeros((n, *shape), np.uint8)
        pixels[:, :16, :, 0] = 200
        pixels[:, 16:, :, 2] = 90
        return pixels, np.arange(n, dtype=np.uint8) % classes

    monkeypatch.setattr(published, "_images", red_above_blue)
    published.cifar10()
    found = images.cifar10(0).test.x
    assert found.shape[1:] == (32, 32, 3) and found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert (found[:, :16] == [200, 0, 0]).all() and (found[:, 16:] == [0, 0, 90]).all()


def test_a_batch_with_a_label_too_few_is_refused(published):
    members, (x, y) = published.cifar10_members()
    batches = {"data_batch_1": (x[:12], y[:11])}
    members |= published._cifar_members("cifar-10-batches-py", batches, b"labels")
    published.write_tar("cifar-10-python.tar.gz", members)
    with pytest.raises(datasets.DataFileError, match="x has 12 rows and y has 11"):
        images.cifar10(0)


def test_an_archive_without_fine_labels_is_refused(published):
    members, _ = published.cifar10_members()
    renamed = {name.replace("data_batch_1", "train"): each for name, each in members.items()}
    renamed = {name.replace("test_batch", "test"): each for name, each in renamed.items()}
    published.write_tar("cifar-100-python.tar.gz", renamed)
    with pytest.raises(datasets.DataFileError, match="fine_labels"):
        images.cifar100(0)


def test_images_of_fashion_mnist_without_their_labels_are_refused(published, idx_writer):
    published.fashion_mnist()
    few = published.folder / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    idx_writer(few, np.zeros(3, np.uint8))
    with pytest.raises(datasets.DataFileError, match="x has 20 rows and y has 3"):
        images.fashion_mnist(0)
