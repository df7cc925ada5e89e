"""What is installed works outside the checkout, and imports little."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_a_wheel_works_outside_the_checkout(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    packages = {
        name.split("/")[0] for name in names if not name.split("/")[0].endswith("dist-info")
    }
    assert packages == {"trainer", "search"}
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
