"""The doctor of the installation: each ill, made of distributions that only look like the real."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import command_line
import pytest
from patience import WORK

from trainer import installation
from trainer.installation import Gpus

ROOT = Path(__file__).parents[2]
REQUIRED = ["tensorflow (>=2.21,<3)", "keras>=3.15,<4", "tensorboard>=2.20"]
TENSORFLOW = """
class sysconfig:
    get_build_info = staticmethod(lambda: {"is_cuda_build": False})
class config:
    list_physical_devices = staticmethod(lambda kind: [])
__version__ = "2.21.0"
"""
KERAS = """
class backend:
    backend = staticmethod(lambda: "tensorflow")
__version__ = "3.15.1"
"""


class Site:
    """The folder of packages of a virtual environment that is made for the test.

    Attributes:
        path: The folder.
        python: The interpreter.
    """

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(symlinks=True).create(folder / "venv")
        self.python = folder / "venv" / "bin" / "python"
        (self.path,) = (folder / "venv").glob("lib/python3*/site-packages")

    def add(self, name: str, version: str, *packages: str, code: str = "", more: str = "") -> None:
        """Add a distribution with import packages."""
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"
        (info / "METADATA").write_text(text)
        (info / "top_level.txt").write_text("\n".join(packages))
        (info / "INSTALLER").write_text("pip\n")
        record = [f"{info.name}/{file}" for file in ("METADATA", "top_level.txt", "INSTALLER")]
        for package in packages:
            (self.path / package).mkdir(exist_ok=True)
            (self.path / package / "__init__.py").write_text(code)
            record.append(f"{package}/__init__.py")
        (info / "RECORD").write_text(
            "".join(f"{line},,\n" for line in [*record, f"{info.name}/RECORD"])
        )

    def healthy(self) -> Site:
        """Add what there should be."""
        self.add("tensorflow", "2.21.0", "tensorflow", code=TENSORFLOW)
        self.add("keras", "3.15.1", "keras", code=KERAS)
        self.add("tensorboard", "2.21.0", "tensorboard")
        required = "".join(f"Requires-Dist: {text}\n" for text in REQUIRED)
        self.add("exact-trainer", "0.2.0", more=required + 'Requires-Dist: x ; extra == "y"\n')
        return self

    def examine(self, **variables: str) -> tuple[list[dict], int]:
        """The findings of a doctor that sees no distributions but these, and its exit code."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS", "TF_", "CUDA"))}
        code = "import sys\nfrom trainer.cli import main\nsys.exit(main())"
        done = subprocess.run(
            [self.python, "-c", code, "doctor", "--offline", "--json"],
            cwd=self.path.parent,
            env={**env, "PYTHONPATH": "", "HOME": str(self.path), **variables},
            capture_output=True,
            text=True,
            timeout=WORK,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        report = json.loads(done.stdout)
        assert report["broken"] == (done.returncode == 1)
        return report["findings"], done.returncode


@pytest.fixture
def site(tmp_path) -> Site:
    found = Site(tmp_path)
    import jsonargparse
    import pip
    import yaml

    (found.path / "trainer").symlink_to(ROOT / "trainer")
    for module in (jsonargparse, pip, yaml):
        source = Path(module.__file__).parent
        (found.path / source.name).symlink_to(source)
    for file in Path(yaml.__file__).parents[1].glob("_yaml"):
        (found.path / file.name).symlink_to(file)
    return found


def only(findings: list[dict], part: str) -> dict:
    (found,) = (finding for finding in findings if part in finding["what"])
    return found


def pip_of(command: str) -> list[str]:
    """The words of a call of pip, without the interpreter."""
    words = shlex.split(command)
    assert "python" in words[0] and words[1:3] == ["-m", "pip"]
    return words[3:]


def test_a_healthy_installation_has_no_findings(site):
    # without NumPy, too, which these fakes do not need: the doctor does not import it
    assert site.healthy().examine() == ([], 0)


@pytest.mark.parametrize(
    ("owner", "other"),
    [("keras", "keras-nightly"), ("tensorflow", "tf-nightly"), ("tensorboard", "tb-nightly")],
)
def test_two_distributions_of_one_package_are_found(owner, other, site):
    code = {"keras": KERAS, "tensorflow": TENSORFLOW}.get(owner, "")
    site.healthy().add(other, "9.9.dev1", owner, code=code)
    findings, exit_code = site.examine()
    found = only(findings, f"have both written the package {owner}")
    first, second = found["commands"]
    assert pip_of(first) == ["uninstall", "-y", *sorted([owner, other])]
    wanted = {"keras": "keras>=3.15,<4", "tensorflow": "tensorflow>=2.21,<3"}
    assert pip_of(second) == ["install", "--no-cache-dir", wanted.get(owner, "tensorboard>=2.20")]
    assert exit_code == 1


def test_the_commands_for_a_mixture_of_two_distributions_mend_it(site):
    site.healthy().add("keras-nightly", "9.9.dev1", "keras", code=KERAS)
    first, second = only(site.examine()[0], "have both written")["commands"]
    env = {**os.environ, "PYTHONPATH": ""}
    subprocess.run(shlex.split(first), env=env, capture_output=True, check=True)
    assert not (site.path / "keras").exists()
    only(site.examine()[0], "keras is not installed")
    # in place of the second command, which needs a network
    assert pip_of(second) == ["install", "--no-cache-dir", "keras>=3.15,<4"]
    site.add("keras", "3.15.1", "keras", code=KERAS)
    assert site.examine() == ([], 0)


def test_a_command_of_the_doctor_mends_what_it_found(site):
    site.healthy().add("keras-preprocessing", "1.1.2", "keras_preprocessing")
    findings, exit_code = site.examine()
    found = only(findings, "keras-preprocessing is of Keras 2")
    assert (found["level"], exit_code) == ("advice", 0)
    (command,) = found["commands"]
    done = subprocess.run(
        shlex.split(command),
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert site.examine() == ([], 0)


def test_several_ills_at_once_are_all_found_and_their_commands_mend_them(site):
    site.add("tensorflow", "2.21.0", "tensorflow", code=TENSORFLOW)
    site.add("tf-nightly", "2.22.0.dev1", "tensorflow", code=TENSORFLOW)
    site.add("keras", "3.15.1", "keras", code=KERAS)
    site.add("keras-nightly", "3.16.0.dev1", "keras", code=KERAS)
    site.add("tensorboard", "2.21.0", "tensorboard")
    site.add("tb-nightly", "2.22.0a1", "tensorboard")
    site.add("tf-keras", "2.21.0", "tf_keras")
    site.add("keras-preprocessing", "1.1.2", "keras_preprocessing")
    required = "".join(f"Requires-Dist: {text}\n" for text in [*REQUIRED, "numpy>=2.4"])
    site.add("exact-trainer", "0.2.0", more=required)
    site.add("numpy", "2.3.0", "numpy")
    findings, exit_code = site.examine()
    assert exit_code == 1 and len(findings) == 6
    commands = [shlex.split(command) for finding in findings for command in finding["commands"]]
    removals = [words for words in commands if words[3] == "uninstall"]
    assert len(removals) == 5
    for words in removals:
        subprocess.run(words, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, check=True)
    installed = [words[-1] for words in commands if words[3] == "install"]
    wanted = ["tensorflow>=2.21,<3", "keras>=3.15,<4", "tensorboard>=2.20", "numpy>=2.4"]
    assert installed == wanted
    # what these would install, which needs a network
    subprocess.run(
        [site.python, "-m", "pip", "uninstall", "-y", "numpy"],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        check=True,
    )
    site.add("tensorflow", "2.21.0", "tensorflow", code=TENSORFLOW)
    site.add("keras", "3.15.1", "keras", code=KERAS)
    site.add("tensorboard", "2.21.0", "tensorboard")
    site.add("numpy", "2.4.0", "numpy")
    assert site.examine() == ([], 0)


def test_a_tensorflow_that_is_not_installed_is_one_finding(site):
    site.add("keras", "3.15.1", "keras", code=KERAS)
    site.add("tensorboard", "2.21.0", "tensorboard")
    required = "".join(f"Requires-Dist: {text}\n" for text in REQUIRED)
    site.add("exact-trainer", "0.2.0", more=required)
    (found,), exit_code = site.examine()
    assert found["what"] == "tensorflow is not installed" and exit_code == 1
    assert pip_of(found["commands"][0]) == ["install", "tensorflow>=2.21,<3"]


def test_a_version_out_of_bounds_and_a_missing_package_are_found(site):
    site.add("tensorflow", "2.19.0", "tensorflow", code=TENSORFLOW)
    site.add("keras", "3.15.0rc1", "keras", code=KERAS)
    required = "".join(f"Requires-Dist: {text}\n" for text in REQUIRED)
    site.add("exact-trainer", "0.2.0", more=required)
    findings, exit_code = site.examine()
    found = only(findings, "tensorflow is 2.19.0, and must be >=2.21,<3")
    assert pip_of(found["commands"][0]) == ["install", "tensorflow>=2.21,<3"]
    only(findings, "keras is 3.15.0rc1, and must be >=3.15,<4")
    missing = only(findings, "tensorboard is not installed")
    assert pip_of(missing["commands"][0]) == ["install", "tensorboard>=2.20"]
    assert exit_code == 1 and len(findings) == 3


def test_a_version_that_an_update_left_behind_is_found(site):
    site.healthy().add("keras", "3.14.0")
    findings, _ = site.examine()
    found = only(findings, "keras is installed in the versions 3.14.0 and 3.15.1 at once")
    assert pip_of(found["commands"][0]) == ["uninstall", "-y", "keras"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "raise ValueError('Duplicate registrations for type \"experimentalOptimizer\"')",
            "cannot be imported (ValueError: Duplicate registrations for type",
        ),
        (
            "import ctypes\nctypes.CDLL('libtensorflow_framework.so.2')",
            "the shared library libtensorflow_framework.so.2 is missing",
        ),
        (
            "import ctypes\nctypes.CDLL('libnowhere.so.1')",
            "the shared library libnowhere.so.1 is missing; it is not part of TensorFlow",
        ),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "ended with SIGSEGV"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGILL)", "ended with SIGILL"),
        ("import absl_that_is_not_there", "the module absl_that_is_not_there is missing"),
    ],
    ids=["raises", "library", "library of the system", "crashes", "instruction", "module"],
)
def test_a_tensorflow_that_cannot_be_imported_is_found(code, said, site):
    site.healthy()
    (site.path / "tensorflow" / "__init__.py").write_text(code)
    findings, exit_code = site.examine()
    found = only(findings, said)
    assert (exit_code, len(findings)) == (1, 1)
    if "SIGILL" not in said:
        assert "--force-reinstall" in pip_of(found["commands"][-1])


def test_settings_of_keras_are_found(site):
    site.healthy()
    found = only(site.examine(TF_USE_LEGACY_KERAS="1")[0], "TF_USE_LEGACY_KERAS is set")
    assert found["commands"] == ["unset TF_USE_LEGACY_KERAS"]
    found = only(site.examine(KERAS_BACKEND="torch")[0], "KERAS_BACKEND is torch")
    assert found["commands"] == ["export KERAS_BACKEND=tensorflow"]
    home = site.path.parent / "home"
    home.mkdir()
    (home / "keras.json").write_text('{"backend": "jax"}')
    only(site.examine(KERAS_HOME=str(home))[0], "keras.json says backend: jax")


SEEN = {"seen": (), "built_for": "12.5", "nodes": True, "devices": 1, "driver": "550.1"}
WHY = {
    "is not imported": (Gpus(seen=None, devices=1), None),
    "is used": (Gpus(seen=("GPU:0",), devices=1), None),
    "is none": (Gpus(seen=()), None),
    "is hidden": (Gpus(**SEEN, hidden="-1"), "CUDA_VISIBLE_DEVICES='-1' hides all GPUs"),
    "has no driver": (Gpus(seen=(), devices=1), "there is an NVIDIA GPU, but no driver"),
    "is not in the container": (Gpus(seen=(), devices=1, driver="550.1"), "was given no GPU"),
    "is old": (Gpus(**SEEN, capabilities={"K80": 3.7}), "K80 has compute capability 3.7"),
    "has no CUDA": (Gpus(**{**SEEN, "built_for": None}), "was built without CUDA"),
    "has no libraries": (Gpus(**SEEN), "built for CUDA 12.5, whose libraries are not installed"),
}


@pytest.mark.parametrize("name", WHY)
def test_the_reason_why_a_gpu_is_not_seen(name):
    gpus, said = WHY[name]
    found = list(installation.about_gpus(gpus, {"tensorflow": ["2.21.0"]}))
    if said is None:
        assert found == []
        return
    (finding,) = found
    assert said in finding.what and finding.level == "advice"
    if "CUDA" in name or "libraries" in name:
        assert pip_of(finding.commands[0]) == ["install", "tensorflow[and-cuda]==2.21.0"]


def test_a_processor_without_avx_is_found():
    if os.uname().machine != "x86_64":
        pytest.skip("AVX is of x86_64")
    assert not list(installation.without_avx({"sse4_2", "avx"}))
    assert not list(installation.without_avx(None))
    (found,) = installation.without_avx({"sse4_2"})
    assert "has no AVX" in found.what


@pytest.mark.parametrize(
    ("version", "bound", "inside"),
    [
        ("3.15", ">=3.15", True),
        ("3.15.0", "==3.15", True),
        ("3.15.0rc1", ">=3.15", False),
        ("3.16.0.dev2026", ">=3.15", True),
        ("4.0.0", "<4", False),
        ("2.21.0+cpu", ">=2.21", True),
        ("2.9.1", ">=2.10", False),
        ("1.4.8", "~=1.4.8", True),
        ("1.5.0", "~=1.4.8", False),
        ("2.13.1", "==2.13.*", True),
        ("2.14", "!=2.13.*", True),
    ],
)
def test_versions_are_compared_by_number(version, bound, inside):
    assert installation.within(version, bound) is inside


MEMORY_V1 = "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n"


@pytest.mark.parametrize(
    ("files", "own", "found"),
    [
        ({"memory.max": "1000\n", "cpu.max": "150000 100000\n"}, "0::/\n", (1000, 1.5)),
        ({"memory.max": "max\n", "cpu.max": "max 100000\n"}, "0::/\n", (None, None)),
        ({"a/memory.max": "500", "a/b/memory.max": "900"}, "0::/a/b\n", (500, None)),
        ({"memory.max": "500", "other/memory.max": "9"}, "0::/a/b\n", (500, None)),
        ({"memory/a/b/memory.limit_in_bytes": "700"}, MEMORY_V1, (700, None)),
        ({"memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, MEMORY_V1, (None, None)),
        (
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            MEMORY_V1,
            (None, 0.5),
        ),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "-1"}, MEMORY_V1, (None, None)),
        ({}, "", (None, None)),
    ],
)
def test_the_limits_of_the_container_are_those_of_its_control_groups(files, own, found, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert installation.container_limits(tmp_path, own) == found


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a host that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_the_table_of_this_installation_names_a_host_that_does_not_answer(tmp_path, silent):
    home = {"TRAINER_DATASETS_MIRROR": silent, "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "doctor"],
        env={**command_line.environment(), **home},
        capture_output=True,
        text=True,
        timeout=WORK,
        check=False,
    )
    assert f"advice: {silent.removeprefix('http://')} cannot be reached" in done.stdout
    assert re.search(r"^mirror +http://127", done.stdout, re.M)
    assert re.search(r"^tensorflow +\d+\.\d+", done.stdout, re.M), done.stderr
    for name in ("python", "processor", "instructions", "memory", "GPUs", "data sets"):
        assert re.search(rf"^{name} +\S", done.stdout, re.M), name
