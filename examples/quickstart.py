"""Train a network, evaluate it on rows it has never seen, save it, and load it again.

    python examples/quickstart.py                                      handwritten digits
    python examples/quickstart.py --data photos/                       one folder per class
    python examples/quickstart.py --data flowers.csv --target species  a table

The network fits the data: convolutions for images, dense layers for tables.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from trainer import Classifier, Regressor, datasets

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="a data set's name, a file or a folder")
parser.add_argument("--target", help="for a table: the column to predict")
parser.add_argument("--epochs", type=int, default=15, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/quickstart"), help="where files go")
args = parser.parse_args()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
args.out.mkdir(parents=True, exist_ok=True)
written = []


def file(name):
    """Return the path of a file to write; all paths are listed at the end."""
    written.append(args.out / name)
    return written[-1]


# The data have three parts: for training, for watching the training, and for judging the result.
data = datasets.load(args.data, target=args.target, seed=args.seed)
print(data)
print(data.description)

# A Classifier learns labels, a Regressor numbers. Both choose whatever you leave out.
kind = Classifier if data.task == "classification" else Regressor
model = kind(epochs=args.epochs, random_state=args.seed)
model.fit(*data.train, validation_data=data.valid)
print(model.summary())

# Only rows that were not used in training show how good it is.
scores = model.evaluate(*data.test)
print("on the test rows:", ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
measure = "accuracy" if data.task == "classification" else "R2"
print(f"held-out {measure} {model.score(*data.test):.3f}")

# What was trained, how it went, and where it fails.
model.save(file("model.keras"))
model.history_.to_csv(file("history.csv"))
model.history_.plot()[0].figure.savefig(file("learning_curves.png"))
x, y = data.test
if data.task == "regression":
    model.plot_residuals(x, y).figure.savefig(file("residuals.png"))
else:
    axes = model.plot_confusion_matrix(x, y, class_names=data.class_names)
    axes.figure.savefig(file("confusion_matrix.png"))
    if x.ndim > 2:
        # Wrong predictions first, as they tell the most; a stable sort keeps the others in order.
        order = np.argsort(model.predict(x) == y, kind="stable")
        axes = model.plot_images(x[order], y[order], class_names=data.class_names)
        axes[0, 0].figure.savefig(file("images.png"))

# The file contains everything: another program makes the same predictions with it.
loaded = kind.load(args.out / "model.keras")
np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
print(f"the loaded model's {len(x)} predictions are equal; the first: {loaded.predict(x[:6])}")

print("\nfiles written:")
for path in written:
    print(f"  {path}")
