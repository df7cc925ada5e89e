"""Calls that are answered before anything is trained: help, mistakes, other commands."""

import gzip
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import command_line
import pytest
from PIL import Image

from trainer import cli

NAMES = [*cli.BUILT_IN, "search", "studies"]
LARGE = ("tensorflow", "keras", "pandas", "sklearn", "scipy", "matplotlib")


def only_line(done: subprocess.CompletedProcess, code: int = 2) -> str:
    """The one line on stderr."""
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("trainer: ")
    return line


def test_the_help_of_all_commands_loads_nothing_large(tmp_path):
    code = (
        "import sys\nfrom trainer.cli import main\n"
        "for words in ['--help'], *([n, '--help'] for n in sys.argv[1:]): assert main(words) == 0\n"
        f"assert not set({LARGE}) & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *NAMES],
        cwd=tmp_path,
        env=command_line.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert re.search(rf"^  {name} +\w", done.stdout, re.M)
        example = cli.find(name).example if name in cli.BUILT_IN else f"trainer {name}"
        assert f"example: {example}" in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["search", "--help"]])
def test_help_takes_less_than_a_second_and_a_half(words, tmp_path):
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    done = command_line.call(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert spent() - before < 1.5  # of the processor's time: other processes may be waited for


def test_the_help_of_fit_has_every_field_of_the_classes(tmp_path):
    from trainer import Classifier, Regressor

    text = command_line.call("fit", "--help", cwd=tmp_path).stdout
    for name in {*Classifier._get_param_names(), *Regressor._get_param_names()}:
        assert f"  --{name} " in text


def test_without_a_command_the_list_is_shown(tmp_path):
    done = command_line.call(cwd=tmp_path)
    assert done.returncode == 2 and "commands:" in done.stderr


WRONG = {
    "fitt": "did you mean 'fit'?",
    "fit --data house.csv --target price --epoch 3": "--epoch: there is no such option; did you",
    "fit --data house.csv --target price --epochs many": "--epochs many: must be a whole number",
    "fit --data house.csv --target prize": "--target 'prize': house.csv has no such column; did",
    "fit --data house.csv": "--target None: must be the name of the column to predict",
    "fit --data hause.csv --target price": "no such file or folder; did you mean 'house.csv'?",
    "fit --data photos": "write --image_size '[4, 4]', the height and width",
    "fit --target price": "the following arguments are required: data",
    "fit --config none.yaml": "--config: File does not exist: ",
    "fit --config broken.yaml": "--config broken.yaml: is not YAML",
    "fit --data house.csv --target price --trainer nothing:Net": "there is no module 'nothing'",
    "fit --data house.csv --target price --trainer net.py:Nett": "has no Nett; did you mean 'Net'?",
    "fit --data house.csv --target price --trainer Regression": "must be Classifier, Regressor, or",
    "fit --data house.csv --target price --pos_label 1": "--pos_label 1: is a field of Classifier",
    "fit --data house.csv --target price --epochs 0": "--epochs 0: must be 1 or more; write",
    "fit --data house.csv --target price --callbacks [earlystopping]": "mean 'early_stopping'?",
    "fit --data odd.csv --target price": "odd.csv",
    "fit --data cut.csv.gz --target price": "cut.csv.gz",
    "fit --data empty.csv --target price": "empty.csv is empty",
    "fit --data two_of_each.csv --target kind --epochs 1": "few rows to be in each part of the",
    "fit --data a_class_alone.csv --target kind": "--target 'kind': is 3 in all rows of a_class",
    "fit --data unvaried.csv --target rate": "--target 'rate': is 0.5 in all rows of unvaried.csv",
    "fit --data missing.csv --target y --missing_target raise": "or write --missing_target drop",
    "fit --data house.csv --target price --split_seed -1": "--split_seed -1: must be",
    "fit --data house.csv --target price --run_dir=": "--run_dir '': must be the name of a folder",
    "fit --config list.yaml": "--config list.yaml: has no options; write lines such as epochs: 3",
    "fit --config typo.yaml": "--config typo.yaml: epoch: there is no such option; did you mean",
    "fit house.csv": "house.csv: data are given by name; write --data FILE",
    "fit --data house.csv --target price --epochs 1e999": "--epochs 1e999: must be a whole number",
    "predict runs/none --data house.csv --out p.csv": "RUN runs/none: there is no such folder",
    "predict runs/none --data house.csv --out p.txt": "--out p.txt: must end in .csv or .npy",
    "evaluate empty": "is a folder without a run",
    "resume empty": "RUN empty: is a folder without a run",
    "search": "the following arguments are required: data",
    "search --data house.csv --target price --fields [1]": "--fields [1]: must be a dict",
    "frobnicate": "choose one of 'callbacks', ",
    "runs none": "FOLDER none: there is no such folder",
    "compare empty": "RUNS: two or more are needed",
    "compare empty empty --out p.txt": "--out p.txt: must end in .png, .svg or .pdf",
    "tensorboard empty": "holds no logs of TensorBoard",
    "export empty --out o --format pdf": "--format pdf: there is no such format; choose one of",
    "serve empty --port x": "--port x: must be a whole number",
    "launch --workers 2": "the following arguments are required: SCRIPT",
    "launch --workers 2 none.py": "none.py: there is no such file",
    "launch net.py": "--workers: how many are to run on this machine? write --workers 2",
    "launch net.py --workers 2": "--workers 2: follows net.py, and so is for that program; write",
    "launch --workers 0 net.py": "--workers 0: must be 1 or more; write --workers 2",
    "launch --workers two net.py": "--workers two: must be a whole number or null",
    "launch --worker 2 net.py": "--worker: there is no such option; did you mean '--workers'?",
    "launch --on slum net.py": "--on 'slum': must be one of 'local', 'hosts'",
    "launch --hosts a:1,b:2 net.py": "--index: which of the 2 hosts is this?",
    "launch --hosts a:1,b:2 --index 2 net.py": "--index 2: there are 2 hosts",
    "launch --start-timeout x net.py": "--start-timeout x: must be a number",
    "launch --start-timeout 0 --workers 2 net.py": "--start-timeout 0.0: must be",
    "datasets --timeout 0": "--timeout 0.0",
    "studies none": "FOLDER none: there is no such folder",
    "search --data house.csv --target price --space {epochs: {lo: 1}}": "--space epochs: {'lo': 1}",
    "search --data house.csv --target price --tuner any --space {epochs: [1]}": "--tuner 'any': ",
    "search --data house.csv --target price --directory=": "--directory '': must be the name of a",
    "search --data house.csv --target price": "--space null: Regressor has no annotated domains; "
    "write --space '{learning_rate: {low: 0.0001, high: 0.1, log: true}}'",
    "search --config twice.yaml": "--config twice.yaml: epochs: is there twice, again in line 4",
    "search --data house.csv --target price --space {epochs: {low: 5, high: 1}}": "--space epochs: "
    "{low: 5, high: 1}: low is above high; write {low: 1, high: 5}",
    "search --data house.csv --target price --space {epochs: {low: 1, high: 2, log: 1}}": "--space "
    "epochs: {log: 1}: must be True or False",
    "search --data house.csv --target price --objective val_mea --space {epochs: [1, 2]}": "write "
    "--objective [val_mea,max] or [val_mea,min]",
    "search --data house.csv --target price --max_trials 0 --space {epochs: [1]}": "--max_trials 0",
    "completion tcl": "SHELL tcl: must be one of bash, zsh, fish",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table, a class, and files that are wrong."""
    path = tmp_path_factory.mktemp("wrong")
    command_line.houses(path / "house.csv", 40)
    (path / "odd.csv").write_bytes(b"size,price\n1\n2,3,4,5\n\x00")
    for name, kinds in (("two_of_each", range(40)), ("a_class_alone", [6] * 40)):
        rows = "".join(f"{i % 7},{kind // 2}\n" for i, kind in enumerate(kinds))
        (path / f"{name}.csv").write_text(f"size,kind\n{rows}")
    (path / "unvaried.csv").write_text("size,rate\n" + "".join(f"{i},0.5\n" for i in range(40)))
    (path / "missing.csv").write_text(
        "size,y\n" + "".join(f"{i % 7},{i or ''}\n" for i in range(40))
    )
    (path / "list.yaml").write_text("- 1\n")
    (path / "typo.yaml").write_text("data: house.csv\nepoch: 1\n")
    (path / "twice.yaml").write_text("data: house.csv\nfields:\n  epochs: 1\n  epochs: 2\n")
    (path / "broken.yaml").write_text("data: [house.csv\n")
    (path / "net.py").write_text("from trainer import Regressor\n\nclass Net(Regressor): ...\n")
    (path / "cut.csv.gz").write_bytes(gzip.compress(b"size,price\n1,2\n" * 999)[:-20])
    (path / "empty.csv").touch()
    for name, side in (("cat", 4), ("dog", 5)):
        (path / "photos" / name).mkdir(parents=True)
        Image.new("L", (side, side)).save(path / "photos" / name / "1.png")
    (path / "empty").mkdir()
    return path


def test_wrong_calls_give_one_line_and_end_with_two(folder):
    def split(words: str) -> list[str]:
        flags, brace, value = words.partition("{")
        return [*flags.split(), *([brace + value] if brace else [])]

    found = command_line.several(list(map(split, WRONG)), folder)
    for (words, said), done in zip(WRONG.items(), found, strict=True):
        lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
        assert (done.returncode, len(lines)) == (2, 1), (words, done.stderr)
        assert lines[0].startswith("trainer: ") and said in lines[0], (words, done.stderr)
    assert not list((folder / "runs").glob("*")), "a fit that is refused leaves no folder"
    assert not (folder / "studies").exists(), "nor does a search"


def test_a_wrong_call_is_so_in_a_process_of_its_own(folder):
    line = only_line(
        command_line.call("fit", "--data", "hause.csv", "--target", "price", cwd=folder)
    )
    assert "did you mean 'house.csv'?" in line


def test_debug_shows_where(folder):
    done = command_line.call("--debug", "runs", "none", cwd=folder)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_control_characters_of_a_call_do_not_reach_the_terminal(folder):
    line = only_line(command_line.call("runs", "no\x1b[2Jne\nx", cwd=folder))
    assert "\x1b" not in line


def distribution(folder: Path, entry_points: str) -> Path:
    """A distribution with entry points."""
    info = folder / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[trainer.commands]\n{entry_points}\n")
    return folder


def test_an_installed_package_adds_a_command(tmp_path):
    (tmp_path / "greeting.py").write_text(
        "from trainer.cli.command import Command\n"
        "from trainer.cli.signatures import Argument\n"
        "GREET = Command('greet', 'Say hello', 'trainer greet --name Ada',\n"
        "    lambda given: print('hello', given['name']),\n"
        "    lambda words: [Argument('name', str, 'who')])\n"
    )
    path = distribution(tmp_path, "greet = greeting:GREET")
    done = command_line.call("greet", "--name", "Ada", cwd=tmp_path, path=path)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n"), done.stderr
    assert re.search(
        r"^  greet +Say hello$", command_line.call("--help", cwd=tmp_path, path=path).stdout, re.M
    )


def test_an_error_of_the_system_is_one_line_with_its_file(tmp_path):
    (tmp_path / "failing.py").write_text(
        "from trainer.cli.command import Command\n"
        "def denied(given): raise PermissionError(13, 'Permission denied', 'house.csv')\n"
        "def broken(given): raise BrokenPipeError(32, 'Broken pipe')  # of a child, say\n"
        "DENIED, BROKEN = (Command(f.__name__, '', '', f, lambda words: ()) for f in"
        " (denied, broken))\n"
    )
    path = distribution(tmp_path, "denied = failing:DENIED\nbroken = failing:BROKEN")
    line = only_line(command_line.call("denied", cwd=tmp_path, path=path))
    assert line == "trainer: house.csv: permission denied; name one that you may read and write"
    line = only_line(command_line.call("broken", cwd=tmp_path, path=path), 1)
    assert line == "trainer: Broken pipe"


def test_a_command_that_cannot_be_loaded_is_one_line_and_hides_no_other(tmp_path):
    path = distribution(tmp_path, "lost = nowhere:LOST\nodd = os:sep")
    line = only_line(command_line.call("lost", cwd=tmp_path, path=path))
    assert "'nowhere:LOST' cannot be loaded (No module named 'nowhere')" in line
    line = only_line(command_line.call("odd", cwd=tmp_path, path=path))
    assert "'os:sep' in the group 'trainer.commands' is not a" in line
    listed = command_line.call("--help", cwd=tmp_path, path=path)
    assert listed.returncode == 0 and "fit" in listed.stdout and "lost" in listed.stdout


def test_a_broken_tensorflow_is_one_line_that_names_the_doctor(folder, tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(
        "raise ValueError('Duplicate registrations for type \"experimentalOptimizer\"')"
    )
    words = ["fit", "--data", "house.csv", "--target", "price"]
    done = command_line.call(*words, cwd=folder, path=tmp_path)
    line = only_line(done, 1)
    assert "Duplicate registrations" in line and "run trainer doctor" in line


def test_a_reader_that_ends_early_is_no_error(tmp_path):
    env = command_line.environment()
    code = f"{sys.executable} -m trainer callbacks | head -1"
    done = subprocess.run(
        code, shell=True, cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.stdout.startswith("name") and not done.stderr
