"""What is wrong with an installation, and the commands that fix it: `trainer doctor`.

Responsible for versions, distributions that overwrite each other, whether TensorFlow can be
imported, processors, GPUs, memory, caches and hosts of data. Not for trainings that fail
(`trainer.doctor`).

It imports nothing but the standard library, because it is for the day on which other imports fail:
TensorFlow is imported in a process of its own, and what needs other packages is tried.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from trainer.engine import BACKENDS
from trainer.utils import processor

OURS = "exact-trainer"
LEAST_MEMORY = 2 << 30  # bytes: TensorFlow alone takes about one quarter
LEAST_CAPABILITY = 6.0  # of a GPU, for which TensorFlow's wheels have code
SECONDS_TO_IMPORT = 300
SECONDS_FOR_HOSTS = 5.0

# Import packages, and which distribution should bring each of them.
_OWNERS = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "tensorboard": "tensorboard",
    "keras_tuner": "keras-tuner",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "pandas": "pandas",
    "trainer": OURS,
    "search": OURS,
}
# Of Keras before version 3: each is imported in its place by code that finds it.
_LEFTOVERS = {
    "keras-preprocessing": "is of Keras 2, and nothing here uses it",
    "keras-applications": "is of Keras 2, and nothing here uses it",
    "tf-keras": "is Keras 2, whose layers and models do not work with Keras 3",
}
_SHOWN = (
    *("exact-trainer", "tensorflow", "keras", "keras-tuner", "tensorboard", "numpy", "scipy"),
    *("scikit-learn", "pandas", "matplotlib", "jsonargparse", "protobuf", "h5py"),
)
_QUOTA = ("quota", "period")
_IMPORT = r"""
import json, sys
import tensorflow as tf
import keras
build = dict(tf.sysconfig.get_build_info())
print("\n" + json.dumps({
    "tensorflow": tf.__version__, "keras": keras.__version__, "backend": keras.backend.backend(),
    "cuda": build.get("cuda_version") if build.get("is_cuda_build") else None,
    "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
}))
"""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or might be.

    Attributes:
        what: What was found, in one sentence.
        commands: The commands that fix it, in their order.
        level: "broken" if something does not work, "advice" if it works with a limitation.
    """

    what: str
    commands: tuple[str, ...] = ()
    level: Literal["broken", "advice"] = "broken"

    def __str__(self) -> str:
        return "\n".join([f"{self.level}: {self.what}", *(f"    {c}" for c in self.commands)])


@dataclass(frozen=True)
class Report:
    """The state of an installation.

    Attributes:
        versions: The version of each distribution; None for one that is not installed.
        machine: What was found about the machine, in words, by name.
        findings: What is wrong; empty if nothing is.
    """

    versions: Mapping[str, str | None]
    machine: Mapping[str, str]
    findings: tuple[Finding, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether something does not work."""
        return any(finding.level == "broken" for finding in self.findings)

    def as_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps({**asdict(self), "broken": self.broken}, indent=1)

    def __str__(self) -> str:
        versions = {name: v or "not installed" for name, v in self.versions.items()}
        rows = {**versions, **self.machine}
        width = max(map(len, rows), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
        found = [str(finding) for finding in self.findings] or ["no problem was found"]
        return "\n".join([*lines, "", *found])


@dataclass(frozen=True)
class Gpus:
    """What is known about the GPUs of a machine.

    Attributes:
        devices: The NVIDIA devices on the bus.
        driver: The version of NVIDIA's driver, or None.
        capabilities: The compute capability of each GPU that the driver knows, by its name.
        hidden: The value of CUDA_VISIBLE_DEVICES, or None if it is not set.
        nodes: Whether there are device files, which containers lack unless they are given them.
        built_for: The version of CUDA that TensorFlow was built for, or None.
        wheels: Whether the libraries of CUDA are installed as Python packages.
        seen: The GPUs that TensorFlow sees; None if it cannot be imported.
    """

    devices: int = 0
    driver: str | None = None
    capabilities: Mapping[str, float] = field(default_factory=dict)
    hidden: str | None = None
    nodes: bool = False
    built_for: str | None = None
    wheels: bool = False
    seen: tuple[str, ...] | None = None


def examine(*, hosts: bool = True) -> Report:
    """Examine the installation of this interpreter.

    Args:
        hosts: Whether to ask the hosts of data sets, for at most five seconds.

    Returns:
        The report; its findings come with the commands that fix them.
    """
    installed = _installed()
    imported, failure = _import_tensorflow(installed)
    gpus = _gpus(installed, imported)
    machine = {
        "python": f"{platform.python_version()}, {sys.executable}",
        "system": platform.platform(),
        **_processors(),
        "memory": _in_words(_memory()),
        "GPUs": ", ".join(gpus.seen) if gpus.seen else "none that TensorFlow sees",
        **_places(),
    }
    findings = [
        *overlapping(installed),
        *leftovers(installed),
        *outside_bounds(installed, _requirements()),
        *settings(os.environ, _keras_json()),
        # that it is not installed at all is said already
        *([failure] if failure and "tensorflow" in installed else []),
        *without_avx(processor.instructions()),
        *about_gpus(gpus, installed),
        *_little_memory(_memory()),
        *(_unreachable() if hosts else []),
    ]
    versions: dict[str, str | None] = {}
    for name in _SHOWN:
        versions[name] = " and ".join(installed[name]) if name in installed else None
    return Report(versions, machine, tuple(findings))


def pip(*words: str) -> str:
    """Return a call of pip for this interpreter."""
    return shlex.join([sys.executable, "-m", "pip", *words])


# ---- distributions -------------------------------------------------------------------------------


def _installed() -> dict[str, list[str]]:
    """Return the versions of each distribution by its name; more than one is one too many."""
    found: dict[str, list[str]] = defaultdict(list)
    places: dict[str, str] = {}
    for each in metadata.distributions():
        name, place = _plain(each.name or ""), str(each.locate_file(""))
        # a copy in a folder that comes later in sys.path is not imported, so that it does no harm
        if name and places.setdefault(name, place) == place and each.version not in found[name]:
            found[name].append(each.version)
    return dict(found)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def overlapping(installed: Mapping[str, list[str]]) -> Iterable[Finding]:
    """Find import packages that several distributions have written, and remains of old versions.

    Args:
        installed: The versions of each distribution.
    """
    brought = metadata.packages_distributions()
    for package, owner in _OWNERS.items():
        owners = sorted({_plain(name) for name in brought.get(package, [])})
        if len(owners) > 1:
            needed = _needed(owner)
            yield Finding(
                f"{' and '.join(owners)} have both written the package {package}, so that it is a "
                "mixture of their files; this is what raises errors such as "
                "'Duplicate registrations for type'",
                (pip("uninstall", "-y", *owners), pip("install", "--no-cache-dir", needed)),
            )
    for name, versions in installed.items():
        if len(versions) > 1:
            yield Finding(
                f"{name} is installed in the versions {' and '.join(sorted(versions))} at once, "
                "which an interrupted update leaves behind",
                (pip("uninstall", "-y", name), pip("install", "--no-cache-dir", _needed(name))),
            )


def leftovers(installed: Mapping[str, list[str]]) -> Iterable[Finding]:
    """Find packages of Keras 2.

    Args:
        installed: The versions of each distribution.
    """
    for name, why in _LEFTOVERS.items():
        if name in installed:
            what = f"{name} {why}; uninstall it unless another program here needs it"
            yield Finding(what, (pip("uninstall", "-y", name),), "advice")


def _requirements() -> list[str]:
    """Return what this package requires, without its extras; empty if it is not installed."""
    try:
        found = metadata.requires(OURS) or []
    except metadata.PackageNotFoundError:
        return []
    plain = [text.partition(";")[0] for text in found if "extra ==" not in text]
    return [re.sub(r"[ ()]", "", text) for text in plain]


def _needed(name: str) -> str:
    """Return what to tell pip to install for a distribution."""
    for text in _requirements():
        if _plain(re.split(r"[^\w.-]", text)[0]) == name:
            return text
    return name


def outside_bounds(
    installed: Mapping[str, list[str]], required: Iterable[str]
) -> Iterable[Finding]:
    """Find distributions that are missing, or of versions that this package does not work with.

    Args:
        installed: The versions of each distribution.
        required: The requirements, such as "keras>=3.15,<4".
    """
    for text in required:
        written = re.split(r"[^\w.-]", text)[0]
        name, wanted = _plain(written), text.removeprefix(written)
        if name not in installed:
            nightly = {"tensorflow": "tf-nightly", "keras": "keras-nightly"}.get(name)
            instead = f", but {nightly} is" if nightly in installed else ""
            yield Finding(f"{name} is not installed{instead}", (pip("install", text),))
            continue
        version = installed[name][0]
        if not all(within(version, bound) for bound in wanted.split(",") if bound):
            what = f"{name} is {version}, and must be {wanted}"
            yield Finding(what, (pip("install", text),))


def within(version: str, bound: str) -> bool:
    """Return whether a version keeps to a bound such as ">=3.15".

    A pre-release such as 3.15.0rc1 or 3.16.0.dev2026 is before the release of its number.

    Args:
        version: A version.
        bound: One of ==, !=, ~=, >=, <=, > and <, and a version; `.*` may end it after == and !=.
    """
    found = re.fullmatch(r"\s*(==|!=|~=|>=|<=|>|<)\s*(\S+)\s*", bound)
    if found is None:
        return True  # a bound of another form, such as an address
    sign, other = found.groups()
    if other.endswith(".*"):
        prefix = other[:-2].split(".")
        same = version.split(".")[: len(prefix)] == prefix
        return same if sign == "==" else not same
    one, two = _key(version), _key(other)
    if sign == "~=":
        return one >= two and version.split(".")[: other.count(".")] == other.split(".")[:-1]
    return {
        "==": one == two,
        "!=": one != two,
        ">=": one >= two,
        "<=": one <= two,
        ">": one > two,
        "<": one < two,
    }[sign]


def _key(version: str) -> tuple[list[int], int]:
    """Return what orders versions: the numbers, and whether it is a release or comes before."""
    release = re.match(r"(?:\d+!)?(\d+(?:\.\d+)*)", version)
    numbers = [] if release is None else [int(n) for n in release[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    before = re.search(
        r"(?:a|b|rc|dev)\d*", version.split("+")[0][release.end() if release else 0 :]
    )
    return numbers, 0 if before else 1


def settings(environ: Mapping[str, str], keras_json: Mapping[str, Any]) -> Iterable[Finding]:
    """Find settings of Keras with which nothing here works.

    Args:
        environ: The environment.
        keras_json: The content of keras.json.
    """
    if environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        what = "TF_USE_LEGACY_KERAS is set, so that TensorFlow uses Keras 2"
        yield Finding(what, ("unset TF_USE_LEGACY_KERAS",))
    backend = environ.get("KERAS_BACKEND")
    supported = " or ".join(BACKENDS)
    if backend and backend not in BACKENDS:
        what = f"KERAS_BACKEND is {backend}, and only {supported} is supported"
        yield Finding(what, ("export KERAS_BACKEND=tensorflow",))
    elif not backend and keras_json.get("backend", "tensorflow") not in BACKENDS:
        what = (
            f"keras.json says backend: {keras_json['backend']}, and only {supported} is supported"
        )
        yield Finding(what, ("export KERAS_BACKEND=tensorflow",))


def _keras_json() -> dict[str, Any]:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        found = json.loads((home / "keras.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # Keras does not use such a file, either
    return found if isinstance(found, dict) else {}


# ---- TensorFlow ----------------------------------------------------------------------------------


def _import_tensorflow(
    installed: Mapping[str, list[str]],
) -> tuple[dict[str, Any] | None, Finding | None]:
    """Import TensorFlow and Keras in another process; return what they say, or what is wrong."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=SECONDS_TO_IMPORT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"importing TensorFlow took longer than {SECONDS_TO_IMPORT} seconds"
        return None, Finding(what, _reinstall("tensorflow", installed))
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found, None
    return None, failed_import(done.returncode, done.stderr, installed)


def failed_import(code: int, error: str, installed: Mapping[str, list[str]]) -> Finding:
    """Return why TensorFlow cannot be imported.

    Args:
        code: The exit code of the process that tried; below 0 the signal that ended it.
        error: What it wrote to stderr.
        installed: The versions of each distribution.
    """
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    said = next((n for n in reversed(lines) if re.match(r"[\w.]+(Error|Exception)\b", n)), "")
    said = said or (lines[-1] if lines else "")
    if code < 0:
        name = signal.Signals(-code).name
        if name == "SIGILL":
            return Finding(
                "importing TensorFlow ended with SIGILL: it uses instructions that this processor "
                "does not have; use a newer machine, or TensorFlow built for this one"
            )
        what = f"importing TensorFlow ended with {name}, which damaged files cause"
        return Finding(what, _reinstall("tensorflow", installed))
    library = re.search(r"([\w.+/-]+\.so[\w.]*): cannot open shared object", said)
    if library is not None:
        name = Path(library[1]).name
        what = f"TensorFlow cannot be imported, as the shared library {name} is missing"
        own = re.match(r"lib(tensorflow|bazel|.*pywrap)|_pywrap", name)
        if own:
            return Finding(what, _reinstall("tensorflow", installed))
        return Finding(
            f"{what}; it is not part of TensorFlow: install the system package that contains it",
            (f"apt-file search {name}", *_reinstall("tensorflow", installed)),
        )
    missing = re.search(r"No module named '([\w]+)", said)
    if missing is not None and missing[1] != "tensorflow":
        owner = _OWNERS.get(missing[1], missing[1].replace("_", "-"))
        what = f"TensorFlow cannot be imported, as the module {missing[1]} is missing"
        return Finding(what, (pip("install", "--force-reinstall", "--no-deps", _needed(owner)),))
    short = said if len(said) <= 300 else f"{said[:300]} ..."
    what = f"TensorFlow cannot be imported ({short})"
    return Finding(what, _reinstall("tensorflow", installed))


def _reinstall(name: str, installed: Mapping[str, list[str]]) -> tuple[str, ...]:
    versions = installed.get(name, [])
    wanted = f"{name}=={versions[0]}" if len(versions) == 1 else _needed(name)
    return (pip("install", "--force-reinstall", "--no-deps", "--no-cache-dir", wanted),)


# ---- the machine ---------------------------------------------------------------------------------


def without_avx(flags: set[str] | None) -> Iterable[Finding]:
    """Find a processor for which TensorFlow's wheels have no code.

    Args:
        flags: Its instruction sets, or None if they are not known.
    """
    if flags is not None and platform.machine() in ("x86_64", "AMD64") and "avx" not in flags:
        yield Finding(
            "the processor has no AVX, which TensorFlow's wheels need: importing it ends with "
            "SIGILL; use a newer machine, or in a virtual machine pass the host's processor on"
        )


def _processors() -> dict[str, str]:
    said = f"{os.cpu_count()} threads, {processor.usable()} of them usable"
    limit = container_limits(Path("/sys/fs/cgroup"), _read("/proc/self/cgroup"))[1]
    if limit is not None:
        said += f", limited to {limit:.1f} by the container"
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    said += "".join(f", {name}={os.environ[name]}" for name in names if name in os.environ)
    flags = processor.instructions() or ()
    known = [f for f in ("avx", "avx2", "fma", "avx512f", "amx_tile") if f in flags]
    return {"processor": said, "instructions": ", ".join(known) or "not known"}


def _memory() -> tuple[int | None, int | None]:
    """Return the bytes of the machine, and the limit of the container; None if not known."""
    total = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    limit, _ = container_limits(Path("/sys/fs/cgroup"), _read("/proc/self/cgroup"))
    return int(total[1]) * 1024 if total else None, limit


def container_limits(root: Path, own: str) -> tuple[int | None, float | None]:
    """Return the limits that control groups set for this process; None without.

    A limit of a group holds for the groups within it as well, so that the lowest one counts.

    Args:
        root: The folder of the control groups, of version 1 or 2.
        own: The content of /proc/self/cgroup: which groups this process is in.

    Returns:
        The bytes of memory, and the number of processors.
    """
    bytes_, processors = [], []
    for line in own.splitlines():
        _, kinds, path = line.split(":", 2)
        names = kinds.split(",") if kinds else [""]
        for name in {"", "memory", "cpu"}.intersection(names):
            folder = (root / kinds if (root / kinds).is_dir() else root / name) / path.lstrip("/")
            for each in (folder, *folder.parents):
                bytes_ += [_read(each / "memory.max"), _read(each / "memory.limit_in_bytes")]
                quota = _read(each / "cpu.max").split()
                quota = quota or [_read(each / f"cpu.cfs_{n}_us").strip() for n in _QUOTA]
                if len(quota) == 2 and all(part.isdigit() and int(part) for part in quota):
                    processors.append(int(quota[0]) / int(quota[1]))
                if each == root:
                    break
    numbers = [int(text) for text in map(str.strip, bytes_) if text.isdigit()]
    limited = [number for number in numbers if number < 1 << 60]  # version 1 has a huge number
    return min(limited, default=None), min(processors, default=None)


def _in_words(memory: tuple[int | None, int | None]) -> str:
    total, limit = memory
    said = "not known" if total is None else f"{total / 2**30:.1f} GiB"
    return said if limit is None else f"{said}, limited to {limit / 2**30:.1f} GiB by the container"


def _little_memory(memory: tuple[int | None, int | None]) -> Iterable[Finding]:
    known = [size for size in memory if size is not None]
    if known and min(known) < LEAST_MEMORY:
        yield Finding(
            f"there are {min(known) / 2**30:.1f} GiB of memory, and trainings may be killed below "
            f"{LEAST_MEMORY >> 30}; give the container or the machine more",
            level="advice",
        )


def _gpus(installed: Mapping[str, list[str]], imported: Mapping[str, Any] | None) -> Gpus:
    driver = re.search(r"Module\s+([\d.]+)", _read("/proc/driver/nvidia/version"))
    devices = 0
    for folder in Path("/sys/bus/pci/devices").glob("*"):
        graphics = _read(folder / "class").startswith("0x03")
        devices += graphics and _read(folder / "vendor").strip() == "0x10de"
    capabilities: dict[str, float] = {}
    if shutil.which("nvidia-smi"):
        call = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
        try:
            done = subprocess.run(call, capture_output=True, text=True, timeout=30, check=False)
            told = done.stdout if done.returncode == 0 else ""
        except (OSError, subprocess.TimeoutExpired):
            told = ""  # a driver that hangs: nothing is known of the GPUs
        for line in told.splitlines():
            name, _, capability = line.rpartition(",")
            if re.fullmatch(r"\s*[\d.]+\s*", capability):
                capabilities[name.strip()] = float(capability)
    return Gpus(
        devices=devices,
        driver=driver[1] if driver else None,
        capabilities=capabilities,
        hidden=os.environ.get("CUDA_VISIBLE_DEVICES"),
        nodes=os.path.exists("/dev/nvidia0") or os.path.exists("/dev/dxg"),
        built_for=None if imported is None else imported["cuda"],
        wheels=any(name.startswith("nvidia-cudnn") for name in installed),
        seen=None if imported is None else tuple(imported["gpus"]),
    )


def about_gpus(gpus: Gpus, installed: Mapping[str, list[str]]) -> Iterable[Finding]:
    """Find why TensorFlow does not see a GPU that is there.

    Args:
        gpus: What is known about them.
        installed: The versions of each distribution.
    """
    if gpus.seen is None or gpus.seen:
        return  # it cannot be imported, which is another finding; or it sees them
    there = f"{gpus.devices} NVIDIA GPUs" if gpus.devices != 1 else "an NVIDIA GPU"
    version = "".join(f"=={v}" for v in installed.get("tensorflow", [])[:1])
    with_cuda = pip("install", f"tensorflow[and-cuda]{version}")
    old = {n: c for n, c in gpus.capabilities.items() if c < LEAST_CAPABILITY}
    if gpus.hidden is not None and gpus.hidden in ("", "-1") and (gpus.devices or gpus.driver):
        what = f"CUDA_VISIBLE_DEVICES={gpus.hidden!r} hides all GPUs"
        yield Finding(what, ("unset CUDA_VISIBLE_DEVICES",), "advice")
    elif gpus.driver is None and gpus.devices:
        what = f"there is {there}, but no driver: TensorFlow uses the processor alone"
        yield Finding(what, ("sudo ubuntu-drivers install", "sudo reboot"), "advice")
    elif gpus.driver is not None and not gpus.nodes:
        what = f"NVIDIA's driver {gpus.driver} is there, but this container was given no GPU"
        yield Finding(what, ("docker run --gpus all ...",), "advice")
    elif gpus.driver is not None and old:
        name, capability = next(iter(old.items()))
        what = f"{name} has compute capability {capability}, and {LEAST_CAPABILITY} is needed"
        yield Finding(what, level="advice")
    elif gpus.driver is not None and gpus.built_for is None:
        what = "this TensorFlow was built without CUDA, so that it sees no GPU"
        yield Finding(what, (with_cuda,), "advice")
    elif gpus.driver is not None:
        said = "were found" if gpus.wheels else "are not installed"
        what = (
            f"TensorFlow sees no GPU with the driver {gpus.driver}; it was built for CUDA "
            f"{gpus.built_for}, whose libraries {said}"
        )
        yield Finding(what, (with_cuda,), "advice")


def _places() -> dict[str, str]:
    found = {"trainer": str(Path(__file__).parent)}
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    parent = next(folder for folder in (home, *home.parents) if folder.exists())
    writable = "" if os.access(parent, os.W_OK) else ", which cannot be written to"
    free = shutil.disk_usage(parent).free / 2**30
    found["data sets"] = f"{home}{writable}, {free:.1f} GiB free"
    mirror = os.environ.get("TRAINER_DATASETS_MIRROR")
    return found | ({"mirror": mirror} if mirror else {})


def _unreachable() -> Iterable[Finding]:
    """Find hosts of data sets that do not answer."""
    from urllib.parse import urlsplit

    try:
        from trainer.datasets import images, tables, texts
        from trainer.datasets.cache import cached, unreachable_each
    except Exception as error:  # of whatever NumPy or its like raise where they are broken
        what = f"the modules that load data cannot be imported ({type(error).__name__}: {error})"
        yield Finding(what, (pip("install", "--force-reinstall", OURS),))
        return
    files = [
        f for parts in (images, texts, tables) for fs in parts.published().values() for f in fs
    ]
    hosts = {urlsplit(f.address).netloc: f.address for f in files if cached(f) is None}
    counts = Counter(urlsplit(f.address).netloc for f in files if cached(f) is None)
    problems = unreachable_each(hosts.values(), SECONDS_FOR_HOSTS)
    for host, address in hosts.items():
        problem = problems[address]
        if problem is not None:
            what = f"{host} cannot be reached ({problem}), for {counts[host]} files of data sets"
            mirror = "export TRAINER_DATASETS_MIRROR=file:///path/of/a/mirror"
            yield Finding(what, (mirror,), "advice")


def _read(path: str | Path) -> str:
    """Return the text of a file of the system; empty where there is none."""
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""


__all__ = ["Finding", "Gpus", "Report", "examine", "failed_import", "within"]
