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
    with pytest.raises(
        ValueError, match=r"8 x 5 pixels and .* has 4 x 4: write image_size=\(5, 8\)"
    ) as caught:
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
    with pytest.raises(ValueError, match=r"cat contains no folders.*at least two classes"):
        datasets.load(folder / "cat")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty contains no image .*each folder in .*animals"):
        datasets.load(folder)


def test_a_target_for_a_folder_is_refused(folder):
    with pytest.raises(ValueError, match="the classes are the subfolders"):
        datasets.load(folder, target="cat")


def test_images_of_several_sizes_are_resized_to_the_given_height_and_width(folder):
    PIL.Image.new("L", (31, 17), 55).save(folder / "cat" / "wide.jpg")
    PIL.Image.new("L", (3, 9), 205).save(folder / "dog" / "tall.tiff")
    dataset = datasets.load(folder, image_size=(6, 4))
    for x, y in (dataset.train, dataset.valid, dataset.test):
        assert (x.shape[1:], x.dtype) == ((6, 4), np.uint8)
        np.testing.assert_array_equal(y, (x[:, 0, 0] >= 200).astype(int))
    assert sum(rows_of(dataset)) == 14
    assert "4 x 6 pixels, resized," in dataset.description


def test_webp_images_are_read(folder):
    PIL.Image.new("RGB", (8, 5), (1, 2, 3)).save(folder / "cat" / "red.webp", lossless=True)
    assert sum(rows_of(datasets.load(folder))) == 13


def test_an_image_made_smaller_is_averaged(folder):
    stripes = np.tile(np.array([0, 200], np.uint8), (5, 4))
    for name in ("cat", "dog"):
        for number in range(6):
            PIL.Image.fromarray(stripes).save(folder / name / f"striped_{number}.png")
        for file in folder.glob(f"{name}/[0-9]*"):
            file.unlink()
    x = datasets.load(folder, image_size=(5, 2)).train.x.astype(int)
    assert abs(x - 100).max() <= 25


def test_broken_images_are_skipped_if_asked_with_a_warning_that_names_them(folder):
    cut, text, empty = (folder / "cat" / name for name in ("4.png", "text.jpg", "empty.png"))
    cut.write_bytes(cut.read_bytes()[:50])
    text.write_text("not an image")
    empty.touch()
    with pytest.raises(datasets.DataFileError, match="is incomplete or not an image"):
        datasets.load(folder)
    with pytest.warns(
        UserWarning, match="3 of 14 images cannot be read and are left out"
    ) as caught:
        dataset = datasets.load(folder, broken_images="skip")
    assert all(str(file) in str(caught[0].message) for file in (cut, text, empty))
    assert sum(rows_of(dataset)) == 11
    assert "3 broken images were left out" in dataset.description
    x, y = dataset.train
    np.testing.assert_array_equal(y, (x[:, 0, 0] >= 200).astype(int))


def test_a_class_of_broken_images_only_is_refused(folder):
    for file in (folder / "dog").iterdir():
        file.write_text("not an image")
    with (
        pytest.warns(UserWarning, match="6 of 12 images"),
        pytest.raises(datasets.DataFileError, match="dog: no image of this class can be read"),
    ):
        datasets.load(folder, broken_images="skip")


def test_a_folder_of_classes_and_of_images_without_a_class_is_refused(folder):
    PIL.Image.new("L", (8, 5)).save(folder / "stray.jpg")
    with pytest.raises(ValueError, match=r"both class folders and images without .*stray\.jpg"):
        datasets.load(folder)


def test_a_folder_of_tables_is_answered_with_its_files(tmp_path):
    (tmp_path / "houses.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match=r"contains no folders and 1 file, such as houses\.csv"):
        datasets.load(tmp_path)


ORIENTATION = 0x0112


def turned(shape, orientation):
    """Exif data with an orientation, and the pixels as a camera held that way stores them.

    The upright picture is dark at the left and light at the right, with a black top row.
    """
    upright = np.tile(np.linspace(80, 240, shape[1]).astype(np.uint8), (shape[0], 1))
    upright[: shape[0] // 2, : shape[1] // 2] = 0
    # The stored pixels are those that the transformation of the orientation makes upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    return upright, PIL.Image.fromarray(np.ascontiguousarray(stored)), exif


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("image_size", [None, (16, 24)])
def test_photos_are_turned_upright_as_their_exif_data_say(tmp_path, suffix, image_size):
    for orientation in range(1, 9):
        upright, stored, exif = turned((16, 24), orientation)
        folder = tmp_path / "ab"[orientation % 2]
        folder.mkdir(exist_ok=True)
        lossless = {"lossless": True} if suffix == "webp" else {"quality": 95}
        stored.save(folder / f"{orientation}.{suffix}", exif=exif, **lossless)
    dataset = datasets.load(tmp_path, image_size=image_size)
    x = np.concatenate([part.x for part in (dataset.train, dataset.valid, dataset.test)])
    x = x if x.ndim == 3 else x[..., 0]
    assert x.shape == (8, 16, 24)
    assert abs(x.astype(int) - upright).max() <= 12


def test_sizes_are_compared_after_photos_are_turned_upright(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            turned((16, 24), 1)[1].save(tmp_path / name / f"{number}.jpg")
    _, stored, exif = turned((24, 16), 6)
    assert stored.size == (24, 16)  # as the others, but it is shown 16 pixels wide
    stored.save(tmp_path / "b" / "odd.jpg", exif=exif)
    with pytest.raises(ValueError, match=r"has 24 x 16 pixels and .*odd\.jpg has 16 x 24: write"):
        datasets.load(tmp_path)


def test_a_photo_with_damaged_exif_data_is_read_as_it_is_stored(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            turned((16, 24), 1)[1].save(
                tmp_path / name / f"{number}.jpg", exif=b"Exif\0\0XX*\0broken"
            )
    dataset = datasets.load(tmp_path)
    assert dataset.train.x.shape[1:] == (16, 24)
