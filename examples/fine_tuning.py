"""Fine-tuning: a network that knows the digits 0 to 4 learns 5 to 9 from few images.

    python examples/fine_tuning.py

Three ways, from the same 60 images: without the base; with the base frozen at first and unfrozen in
stages; and with LoRA, which trains a few percent of the parameters beside the frozen base. With
keras.applications it is the same: see docs/fine_tuning.md.
"""

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from trainer import Classifier

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=30, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/fine_tuning"), help="for files")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
BASE = args.out / "base.keras"


def new_backbone(shape):
    """Return a network from pixels to features, with the scaling of its pixels."""
    layers = [keras.Input(shape), keras.layers.Rescaling(1 / 16)]
    for _ in range(2):
        layers += [keras.layers.Dense(256, "relu"), keras.layers.BatchNormalization()]
    return keras.Sequential(layers, name="backbone")


def with_head(backbone, spec, **call):
    inputs = keras.Input(spec.input_shape)
    outputs = keras.layers.Dense(spec.n_outputs, name="head")(backbone(inputs, **call))
    return keras.Model(inputs, outputs)


class Base(Classifier):
    def build_model(self, spec):
        return with_head(new_backbone(spec.input_shape), spec)


def trained_backbone():
    return Base.load(BASE).model_.get_layer("backbone")


class Unfrozen(Classifier):
    """First the head alone, then two more layers every ten epochs, from the top down."""

    callbacks = ({"name": "unfreeze", "start": 1, "layers": 2, "epochs": 10},)

    def build_model(self, spec):
        # training=False: batch normalization keeps the statistics of the base
        return with_head(trained_backbone(), spec, training=False)


class Adapted(Classifier):
    """LoRA of the given rank on each dense layer; the rest of the base is frozen."""

    rank: int = 2
    learning_rate = 0.01  # adapters start from zero, and take larger steps than whole kernels

    def build_model(self, spec):
        backbone = trained_backbone()
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.Dense):
                layer.enable_lora(self.rank)
            else:
                layer.trainable = False
        return with_head(backbone, spec)


x, y = load_digits(return_X_y=True)
fields = {"epochs": args.epochs, "batch_size": 16, "random_state": args.seed}
Base(epochs=5, random_state=args.seed).fit(x[y < 5], y[y < 5]).save(BASE)
few, test, few_y, test_y = train_test_split(
    x[y >= 5], y[y >= 5], train_size=60, stratify=y[y >= 5], random_state=args.seed
)
for name, way in {"from scratch": Base, "unfrozen": Unfrozen, "LoRA": Adapted}.items():
    model = way(**fields).fit(few, few_y)
    learned = sum(math.prod(weight.shape) for weight in model.model_.trainable_weights)
    share = learned / model.model_.count_params()
    print(f"{name}: accuracy {model.score(test, test_y):.3f}, trains {share:.1%} of the parameters")

path = model.save(args.out / "adapters.keras", adapters_only=True)
again = Adapted.load(path)  # the base comes from its own file
assert (again.predict_proba(test) == model.predict_proba(test)).all()
print(f"bytes: base {BASE.stat().st_size:,}, adapters {path.stat().st_size:,}")

print("\nfiles written:")
for file in (BASE, path):
    print(f"  {file}")
