"""Twenty layers: why a plain sigmoid network does not train, and two ways to make it train.

    python examples/deep_network.py
    python examples/deep_network.py --data fashion_mnist

On its way back the gradient shrinks with each sigmoid layer, and nothing of it reaches the first.
Batch normalisation keeps the inputs of all layers at the same scale; SELU units do so themselves.
"""

import argparse
import os
import warnings
from pathlib import Path

import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import keras
import tensorflow as tf

from trainer import Classifier, ModelSpec, datasets, models, plots

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="a data set's name, a file or a folder")
parser.add_argument("--target", help="for a table: the column to predict")
parser.add_argument("--epochs", type=int, default=25, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/deep_network"), help="for files")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

data = datasets.load(args.data, target=args.target, seed=args.seed)
if data.class_names is None:
    raise SystemExit(f"--data {args.data}: has numbers to predict; use examples/regression.py")
print(data, data.description, sep="\n")


class Deep(Classifier):
    """Twenty dense layers of 100 units; the annotated names are its fields."""

    activation: str = "sigmoid"
    batch_norm: bool = False
    dropout: float = 0.0

    def build_model(self, spec):
        return models.deep(
            spec,
            depth=20,
            units=100,
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.dropout,  # alpha dropout after SELU: it preserves mean and deviation
        )


def vanishing(way):
    """Return the ratio of the first layer's gradient to the last one's, before any training."""
    spec = ModelSpec(data.train.x.shape[1:], len(data.class_names), "classification")
    keras.utils.set_random_seed(args.seed)
    network = Deep(**way).build_model(spec)
    x = keras.random.normal((32, *spec.input_shape))
    y = keras.random.randint((32,), 0, spec.n_outputs)
    kernels = [weight.value for weight in network.trainable_weights if weight.name == "kernel"]
    with tf.GradientTape() as tape:
        loss = keras.losses.sparse_categorical_crossentropy(y, network(x, training=True))
    first, last = tape.gradient(loss, [kernels[0], kernels[-1]])
    return float(tf.norm(first) / tf.norm(last))


ways = {
    "sigmoid": {},
    "sigmoid, batch normalisation": {"batch_norm": True},
    "SELU, alpha dropout": {"activation": "selu", "dropout": 0.1},
}
descent = {"optimizer": "sgd", "learning_rate": 0.01, "normalize": "standard"}
histories, rows = {}, []
for name, way in ways.items():
    model = Deep(**way, **descent, epochs=args.epochs, random_state=args.seed)
    warnings.simplefilter("ignore", RuntimeWarning)  # that sigmoid does not learn is the lesson
    model.fit(*data.train, validation_data=data.valid)
    histories[name] = model.history_
    accuracy = model.score(*data.test)
    rows.append({"network": name, "gradient ratio": vanishing(way), "accuracy": accuracy})

table = pd.DataFrame(rows)
print("gradient of the first layer / the last, before training; accuracy on the test rows:")
print(table.to_string(index=False, float_format="{:.3g}".format))
table.to_csv(args.out / "results.csv", index=False)
print("Batch normalisation evaluates with averages over past batches, which lag behind at first:")
print("its validation curve starts late.")
plots.plot_history(histories)[0].figure.savefig(args.out / "learning_curves.png")

print("\nfiles written:")
for name in ("results.csv", "learning_curves.png"):
    print(f"  {args.out / name}")
