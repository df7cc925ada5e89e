"""Small copies of the published data sets, in their publishers' formats, in a Keras home of their
own. The rows are random but seeded; their number is what keeps them fast."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

N_TRAIN, N_TEST = 60, 20


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did, which is what CIFAR's publisher used."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, value):
        data = value if isinstance(value, bytes) else value.encode("ascii")
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)

    dispatch[bytes] = save_string
    dispatch[str] = save_string


def python2_pickle(content) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def write_idx(path: Path, array: np.ndarray) -> Path:
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    head = struct.pack(">BBBB", 0, 0, codes[array.dtype.str[1:]], array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    content = head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def ragged(sequences) -> np.ndarray:
    array = np.empty(len(sequences), dtype=object)
    array[:] = sequences
    return array


class Published:
    """Writes each data set's files below `home`; returns the arrays that went in."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "datasets"
        self.folder.mkdir(parents=True)
        self.rng = np.random.default_rng(0)

    def _images(self, n, shape, classes):
        images = self.rng.integers(0, 256, size=(n, *shape), dtype=np.uint8)
        return images, self.rng.integers(0, classes, size=n, dtype=np.uint8)

    def mnist(self):
        x, y = self._images(N_TRAIN + N_TEST, (28, 28), 10)
        np.savez_compressed(
            self.folder / "mnist.npz",
            x_train=x[:N_TRAIN],
            y_train=y[:N_TRAIN],
            x_test=x[N_TRAIN:],
            y_test=y[N_TRAIN:],
        )
        return x, y

    def fashion_mnist(self):
        x, y = self._images(N_TRAIN + N_TEST, (28, 28), 10)
        folder = self.folder / "fashion-mnist"
        write_idx(folder / "train-images-idx3-ubyte.gz", x[:N_TRAIN])
        write_idx(folder / "train-labels-idx1-ubyte.gz", y[:N_TRAIN])
        write_idx(folder / "t10k-images-idx3-ubyte.gz", x[N_TRAIN:])
        write_idx(folder / "t10k-labels-idx1-ubyte.gz", y[N_TRAIN:])
        return x, y

    def _cifar_members(self, inner, batches, label_key):
        members = {}
        for name, (x, y) in batches.items():
            planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
            content = {b"data": planes, label_key: [int(label) for label in y]}
            members[f"{inner}/{name}"] = python2_pickle(content)
        members[f"{inner}/readme.html"] = b"<p>not a batch</p>"
        return members

    def cifar10_members(self):
        x, y = self._images(N_TRAIN + N_TEST, (32, 32, 3), 10)
        per_batch = N_TRAIN // 5
        batches = {
            f"data_batch_{i + 1}": (
                x[i * per_batch : (i + 1) * per_batch],
                y[i * per_batch : (i + 1) * per_batch],
            )
            for i in range(5)
        }
        batches["test_batch"] = (x[N_TRAIN:], y[N_TRAIN:])
        return self._cifar_members("cifar-10-batches-py", batches, b"labels"), (x, y)

    def write_tar(self, name, members):
        with tarfile.open(self.folder / name, "w:gz") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    def cifar10(self, name="cifar-10-python.tar.gz"):
        members, rows = self.cifar10_members()
        self.write_tar(name, members)
        return rows

    def cifar100(self, name="cifar-100-python.tar.gz"):
        x, y = self._images(N_TRAIN + N_TEST, (32, 32, 3), 100)
        batches = {"train": (x[:N_TRAIN], y[:N_TRAIN]), "test": (x[N_TRAIN:], y[N_TRAIN:])}
        members = self._cifar_members("cifar-100-python", batches, b"fine_labels")
        self.write_tar(name, members)
        return x, y

    def _texts(self, n, classes):
        lengths = self.rng.integers(2, 400, size=n)
        texts = [self.rng.integers(1, 20_000, size=length).tolist() for length in lengths]
        return ragged(texts), np.arange(n) % classes

    def imdb(self):
        x, y = self._texts(N_TRAIN + N_TEST, 2)
        np.savez(
            self.folder / "imdb.npz",
            x_train=x[:N_TRAIN],
            y_train=y[:N_TRAIN],
            x_test=x[N_TRAIN:],
            y_test=y[N_TRAIN:],
        )
        return x, y

    def reuters(self):
        x, y = self._texts(N_TRAIN + N_TEST, 3)
        np.savez(self.folder / "reuters.npz", x=x, y=y)
        return x, y

    def _houses(self, name, columns):
        x = self.rng.normal(size=(N_TRAIN + N_TEST, columns))
        y = self.rng.uniform(5, 50, size=N_TRAIN + N_TEST)
        np.savez(self.folder / f"{name}.npz", x=x, y=y)
        return x, y

    def boston_housing(self):
        return self._houses("boston_housing", 13)

    def california_housing(self):
        return self._houses("california_housing", 8)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A Keras home without files, and the means to publish some there."""
    home = tmp_path / "keras_home"
    monkeypatch.setenv("KERAS_HOME", str(home))
    return Published(home)


@pytest.fixture
def idx_writer():
    return write_idx


@pytest.fixture
def shared_data():
    """The real files that lie beside the repository, where they do."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data in {folder} are not on this machine")
    return folder
