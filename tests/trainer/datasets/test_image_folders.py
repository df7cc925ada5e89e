"""Folders with one folder of images per class."""

import re

import numpy as np
import PIL.Image
import pytest

from trainer import datasets


def rows_of(dataset):
    return [len(part.x) for part in (dataset.train, dataset.valid, dataset.test)]


@pytest.fixture
def folder(tmp_path):
    """Six dark cats and six light dogs, 8 x 5 pixels, greyscale."""
    root = tmp_path / "animals"
    suffixes = ["png", "bmp", "gif", "PNG", "png", "png"]
    for name, brightness in (("dog", 200), ("cat", 50)):
        (root / name).mkdir(parents=True)
        for number, suffix in enumerate(suffixes):
            image = PIL.Image.new("L", (8, 5), brightness + number)
            image.save(root / name / f"{number}.{suffix}")
    return root


def test_a_folder_of_class_folders_becomes_images_with_class_names(folder):
    dataset = datasets.load(folder)
    assert dataset.class_names == ["cat", "dog"]
    assert sum(rows_of(dataset)) == 12
    for x, y in (dataset.train, dataset.valid, dataset.test):
        assert x.dtype == np.uint8
        assert x.shape[1:] == (5, 8)
        np.testing.assert_array_equal(y, (x[:, 0, 0] >= 200).astype(int))
    assert (dataset.name, dataset.task) == ("animals", "classification")


def test_one_colour_image_makes_all_images_rgb(folder):
    PIL.Image.new("RGB", (8, 5), (1, 2, 3)).save(folder / "cat" / "red.png")
    PIL.Image.new("RGBA", (8, 5), (1, 2, 3, 255)).save(folder / "cat" / "opaque.png")
    PIL.Image.new("RGB", (8, 5), (9, 9, 9)).save(folder / "dog" / "photo.jpeg")
    dataset = datasets.load(folder)
    together = np.concatenate([part.x for part in (dataset.train, dataset.valid, dataset.test)])
    assert together.shape == (15, 5, 8, 3)
    assert (together == (1, 2, 3)).all(axis=(1, 2, 3)).sum() == 2


def test_other_files_in_a_folder_are_counted_and_hidden_ones_ignored(folder):
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / "readme.md").write_text("not a class")
    (folder / ".cache").mkdir()
    assert "2 other entries of these folders were ignored" in datasets.load(folder).description


def test_two_sizes_of_images_are_named(folder):
    odd = folder / "dog" / "3.PNG"
    PIL.Image.new("L", (4, 4)).save(odd)
    with pytest.raises(ValueError, match=r"8 x 5 pixels and .* has 4 x 4: .*resize") as caught:
        datasets.load(folder)
    assert str(odd) in str(caught.value)
    assert str(folder / "cat" / "0.png") in str(caught.value)


def test_images_that_are_not_plain_are_named(folder):
    odd = folder / "cat" / "odd.png"
    frames = [PIL.Image.new("L", (8, 5), shade) for shade in (0, 255)]
    cases = [
        (PIL.Image.new("I;16", (8, 5)), {}, "mode I;16, not 8 bits"),
        (PIL.Image.new("P", (8, 5)), {"transparency": 0}, "has transparent pixels"),
        (PIL.Image.new("RGBA", (8, 5), (0, 0, 0, 100)), {}, "has transparent pixels"),
        (frames[0], {"save_all": True, "append_images": frames[1:]}, "animation of 2 frames"),
    ]
    for image, options, message in cases:
        image.save(odd, **options)
        with pytest.raises(ValueError, match=message) as caught:
            datasets.load(folder)
        assert str(odd) in str(caught.value)


def test_a_broken_image_is_named(folder):
    broken = folder / "cat" / "4.png"
    content = broken.read_bytes()
    for part in (content[:50], b"not an image"):
        broken.write_bytes(part)
        with pytest.raises(datasets.DataFileError, match=re.escape(f"{broken} is incomplete")):
            datasets.load(folder)


def test_a_folder_without_classes_is_explained(folder):
    with pytest.raises(ValueError, match=r"cat contains 0 folders.*at least two classes"):
        datasets.load(folder / "cat")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty contains no image .*each folder in .*animals"):
        datasets.load(folder)


def test_a_target_for_a_folder_is_refused(folder):
    with pytest.raises(ValueError, match="the classes are the subfolders"):
        datasets.load(folder, target="cat")
