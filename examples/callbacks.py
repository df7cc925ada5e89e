"""Callbacks together, and a training that is killed and resumes as if nothing had happened.

    python examples/callbacks.py
    tensorboard --logdir output/callbacks/run/tensorboard      to look at the curves

A second process trains with TensorBoard, early stopping, checkpoints and a learning rate schedule.
It is killed half way, as by a power cut. The same call then resumes.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import numpy as np

from trainer import Classifier, datasets, plots

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=40, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/callbacks"), help="for files")
parser.add_argument("--only-train", action="store_true", help="what the second process does")
args = parser.parse_args()
data = datasets.load("digits", seed=args.seed)
folder = args.out / "run"


def training(run_dir):
    """Return the same Trainer each time; without a folder it saves nothing."""
    kept = [{"name": "checkpoint", "keep": 3}, "tensorboard", "csv"] if run_dir else []
    return Classifier(
        epochs=args.epochs,
        learning_rate=3e-4,
        callbacks=[
            {"name": "learning_rate", "shape": "cosine", "warmup": 0.1},
            {"name": "early_stopping", "patience": 8},
            *kept,
        ],
        run_dir=run_dir,
        random_state=args.seed,
    )


if args.only_train:
    training(folder).fit(*data.train, validation_data=data.valid)
    raise SystemExit("trained to the end: it was not killed")

# 1. A second process trains, and is killed after its third epoch. No program can handle SIGKILL.
options = [f"--{name}={getattr(args, name)}" for name in ("epochs", "seed", "out")]
second = subprocess.Popen([sys.executable, __file__, "--only-train", *options])
log = folder / "run.log"
while second.poll() is None and not (log.exists() and "epoch 3 " in log.read_text()):
    time.sleep(0.005)
second.send_signal(signal.SIGKILL)
print("the second process ended with", second.wait())

# 2. The same call again: it finds the unfinished run, and resumes from the last complete state.
model = training(folder).fit(*data.train, validation_data=data.valid)
print(*(line for line in log.read_text().splitlines() if "epoch" not in line.split()[1]), sep="\n")

# 3. The result is that of a training without the power cut: the same weights, to the bit.
unbroken = training(None).fit(*data.train, validation_data=data.valid)
pairs = zip(model.model_.get_weights(), unbroken.model_.get_weights(), strict=True)
print("equal weights:", all(np.array_equal(a, b) for a, b in pairs))
print("equal histories:", model.history_["val_loss"] == unbroken.history_["val_loss"])
print(f"held-out accuracy {model.score(*data.test):.3f} after {len(model.history_)} epochs")
axes = plots.plot_history(model.history_)
axes[0].figure.savefig(args.out / "learning_curves.png")

print("\nfiles written:")
for path in sorted(args.out.rglob("*")):
    if path.is_file() and not path.name.startswith("."):
        print(f"  {path}")
