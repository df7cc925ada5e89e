"""A first lesson on networks, with any set of images: look, build, train, and see why it fails.

    python examples/classification.py                          handwritten digits, offline
    python examples/classification.py --data fashion_mnist     clothes; downloaded once
    python examples/classification.py --data photos/           one folder of images per class

The same network is trained twice by plain gradient descent: on the raw pixels, and with a
normalisation as its first layer. Only one of them learns.
"""

import argparse
import math
import os
import platform
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import keras
from keras import layers

from trainer import Classifier, ModelSpec, datasets, plots

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="a data set's name, a file or a folder")
parser.add_argument("--target", help="for a file: where the labels are")
parser.add_argument("--epochs", type=int, default=30, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/classification"), help="for files")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

# 1. What this runs on: without that a result is worth little.
print("Python", platform.python_version())
for library in ("tensorflow", "keras", "scikit-learn", "numpy", "pandas", "matplotlib"):
    print(library, version(library))

# 2. The data, in three parts: for training, for watching the training, and for judging the result.
data = datasets.load(args.data, target=args.target, seed=args.seed)
names = data.class_names
if data.train.x.ndim not in (3, 4) or names is None:
    raise SystemExit(f"--data {args.data}: has no images with classes; use examples/quickstart.py")


def camera(x):
    """Scale to pixels as cameras store them, integers from 0 to 255; digits come as 0 to 16."""
    return np.clip(x * (255 / data.train.x.max()), 0, 255).astype(np.uint8)


train, valid, test = ((camera(x), y) for x, y in (data.train, data.valid, data.test))
for part, (x, y) in {"training": train, "validation": valid, "test": test}.items():
    print(f"{part}: images {x.shape} {x.dtype} from {x.min()} to {x.max()}, labels {y.shape}")

# 3. Look at the data: one image, then a grid with the names of the classes.
x, y = train
for name, rows, columns in (("one_image.png", 1, 1), ("images.png", 3, 6)):
    axes = plots.plot_images(x, y, class_names=names, rows=rows, columns=columns)
    axes[0, 0].figure.savefig(args.out / name)


# 4. The network, as a list of layers ...
class Perceptron(Classifier):
    def build_model(self, spec):
        stack = [
            layers.Input(spec.input_shape),
            layers.Flatten(),
            layers.Dense(300, activation="relu"),
            layers.Dense(100, activation="relu"),
            layers.Dense(spec.n_outputs, activation="softmax"),
        ]
        return keras.Sequential(stack)


# ... and the same network, layer by layer.
class PerceptronByAdding(Classifier):
    def build_model(self, spec):
        model = keras.Sequential()
        model.add(layers.Input(spec.input_shape))
        model.add(layers.Flatten())
        model.add(layers.Dense(300, activation="relu"))
        model.add(layers.Dense(100, activation="relu"))
        model.add(layers.Dense(spec.n_outputs, activation="softmax"))
        return model


spec = ModelSpec(x.shape[1:], n_outputs=len(names), task="classification")
listed, added = Perceptron().build_model(spec), PerceptronByAdding().build_model(spec)
listed.summary(line_length=80)
print(f"weights: {listed.count_params():,} as a list, {added.count_params():,} by adding")

# 5. Train it: without normalisation, and with it. Nothing else differs.
runs = {}
descent = {"optimizer": "sgd", "learning_rate": 0.01}
for label, normalize in {"raw pixels": None, "normalised": "standard"}.items():
    model = Perceptron(**descent, normalize=normalize, epochs=args.epochs, random_state=args.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it does not learn is the lesson
        runs[label] = model.fit(*train, validation_data=valid)
    losses = model.history_["loss"]
    print(f"{label}: loss {losses[0]:.4g} after the first epoch, {losses[-1]:.4g} after the last")
raw, normalised = runs.values()
curves = plots.plot_history({label: run.history_ for label, run in runs.items()})
curves[0].figure.savefig(args.out / "learning_curves.png")
normalised.history_.to_csv(args.out / "history.csv")

# 6. The lesson. A step of gradient descent is proportional to the inputs: with pixels up to 255 the
# first steps move the weights so far that nearly all ReLU units of the first layer output 0 for
# every image (98% of them on digits). Where a unit outputs 0 its gradient is 0, too, so it never
# recovers, and the layers after it can no longer distinguish the images.
guess = raw.predict_proba(test[0])
same = np.isclose(guess, np.median(guess, axis=0), atol=1e-6, equal_nan=True).all(axis=1).mean()
print(f"raw pixels: {same:.0%} of the test images get exactly the same probabilities.")
if same > 0.5:
    print(f"That is guessing, with a loss of about ln({len(names)}) = {math.log(len(names)):.4g}:")
    print("the first steps were too large for raw pixels, and the units have died.")
else:
    print("It distinguishes images: they are dark or few enough for steps of this size.")
print(f"The Trainer's diagnosis:\n{raw.diagnose()}")

# 7. Judge it by images that were not used in training.
for label, run in runs.items():
    scores = run.evaluate(*test)
    print(f"{label}: held-out accuracy {scores['accuracy']:.3f}, loss {scores['loss']:.4g}")
axes = normalised.plot_confusion_matrix(*test, class_names=names)
axes.figure.savefig(args.out / "confusion_matrix.png")
axes = normalised.plot_images(*test, class_names=names)
axes[0, 0].figure.savefig(args.out / "predictions.png")
print("probabilities of the first test image:", normalised.predict_proba(test[0][:1]).round(2)[0])

print("\nfiles written:")
pictures = ("one_image", "images", "learning_curves", "confusion_matrix", "predictions")
for name in ("history.csv", *(f"{picture}.png" for picture in pictures)):
    print(f"  {args.out / name}")
