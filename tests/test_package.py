"""What is installed works outside the checkout, and imports little."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import warm

ROOT = Path(__file__).parents[1]


def run(code: str, **options) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_trainer_does_not_import_tensorflow():
    run("import trainer, sys; assert 'tensorflow' not in sys.modules")


def test_every_public_name_can_be_imported_without_tensorflow():
    run(
        "import trainer, sys\n"
        "for name in trainer.__all__: getattr(trainer, name)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )


def test_an_unknown_name_is_an_attribute_error():
    run(
        "import trainer\n"
        "try: trainer.nothing\n"
        "except AttributeError: pass\n"
        "else: raise SystemExit(1)"
    )


def test_a_wheel_works_outside_the_checkout(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entries,) = (n for n in names if n.endswith("entry_points.txt"))
        commands = archive.read(entries).decode()
        archive.extractall(tmp_path / "site")
    packages = {
        name.split("/")[0] for name in names if not name.split("/")[0].endswith("dist-info")
    }
    assert packages == {"trainer", "search"}
    assert "trainer/reports/page.html" in names
    assert "trainer = trainer.cli:main" in commands
    assert "search = search.commands:SEARCH" in commands
    out = run(
        "import trainer\n"
        "from trainer import Classifier, datasets\n"
        "iris = datasets.load('iris')\n"
        "print(trainer.__file__)\n"
        "print(Classifier(epochs=30, random_state=0).fit(*iris.train).score(*iris.test))",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    file, score = out.split()
    assert file.startswith(str(tmp_path / "site"))
    assert float(score) > 0.8


def test_everything_can_be_imported_where_only_posix_has_a_module(tmp_path):
    # what the libraries import is theirs: they are loaded before
    code = """
import importlib, pkgutil, sys
import cloudpickle, filelock, joblib, keras_tuner, matplotlib.pyplot, pandas, pebble, psutil
import multiprocessing.popen_spawn_posix, multiprocessing.resource_tracker, rich.live

HIDDEN = ("fcntl", "grp", "pwd", "resource", "termios")

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}")

for name in HIDDEN:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Finder())
import search, trainer
for package in (trainer, search):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(len([m for m in sys.modules if m.split(".")[0] in ("trainer", "search")]))
"""
    done = warm.run(code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150
