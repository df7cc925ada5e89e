"""pickled: arrays and plain containers are read, and nothing that a file names is called."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from trainer.datasets.pickled import ArrayUnpickler, read_npz


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_in_containers_are_read_whichever_numpy_wrote_them(module):
    content = {"rows": [np.arange(6, dtype="int16").reshape(2, 3), ("a", 1.5, None)]}
    written = pickle.dumps(content, protocol=3)
    written = written.replace(b"numpy._core.multiarray", module)
    found = ArrayUnpickler(io.BytesIO(written)).load()
    assert found["rows"][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["rows"][0].dtype == np.int16
    assert found["rows"][1] == ("a", 1.5, None)


@pytest.mark.parametrize(
    ("value", "named"),
    [(print, "print"), (np.load, "numpy.load"), (pickle.Unpickler, "Unpickler"), (1j, "complex")],
)
def test_any_other_name_is_refused_and_said(value, named):
    with pytest.raises(pickle.UnpicklingError, match=f"refers to .*{named}, and only NumPy arrays"):
        ArrayUnpickler(io.BytesIO(pickle.dumps(value))).load()


def test_arrays_are_given_in_the_order_of_the_keys_and_lists_among_them_as_lists(tmp_path):
    texts = np.empty(2, object)
    texts[:] = [[1, 2, 3], [4]]
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(tmp_path / "data.npz", x=texts, y=fortran, z=np.array([7]))
    y, x = read_npz(tmp_path / "data.npz", ["y", "x"])
    assert y.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert x.dtype == object and x.tolist() == [[1, 2, 3], [4]]


def test_all_arrays_that_a_file_lacks_are_named(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros(2))
    with pytest.raises(ValueError, match="it has no array y, w$"):
        read_npz(tmp_path / "data.npz", ["y", "x", "w"])


def test_an_array_with_a_changed_byte_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.full(50, 3.0))
    content = bytearray(path.read_bytes())
    content[content.index(np.float64(3).tobytes()) + 7] ^= 1
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_npz(path, ["x"])
