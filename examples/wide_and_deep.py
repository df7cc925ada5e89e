"""A wide and deep network with two inputs and two outputs, written in two ways.

    python examples/wide_and_deep.py                                 progress of diabetes, offline
    python examples/wide_and_deep.py --data housing.csv.gz --target median_house_value

The wide columns go straight to the output, for simple rules; the deep ones pass through hidden
layers, for combinations. An auxiliary output makes the deep part useful by itself.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import keras

from trainer import Regressor, datasets

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="diabetes", help="a data set's name or a file")
parser.add_argument("--target", help="for a table: the column to predict")
parser.add_argument("--epochs", type=int, default=30, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/wide_and_deep"), help="for files")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

data = datasets.load(args.data, target=args.target, seed=args.seed)
if data.task != "regression":
    raise SystemExit(f"--data {args.data}: has classes; use examples/quickstart.py")
print(data, data.description, sep="\n")

# Several inputs are a dict of arrays, and so are several outputs. The two inputs share the middle
# columns. Both outputs learn the same target, in units of its standard deviation.
columns = pd.DataFrame(data.train.x).select_dtypes("number")
medians, names = columns.median(), list(columns)
wide, deep = names[: 2 * len(names) // 3], names[len(names) // 3 :]
mean, deviation = np.mean(data.train.y), np.std(data.train.y)


def several(x, y):
    filled = pd.DataFrame(x).fillna(medians)
    scaled = (np.asarray(y) - mean) / deviation
    given = {"wide": filled[wide].to_numpy(float), "deep": filled[deep].to_numpy(float)}
    return given, {"main": scaled, "auxiliary": scaled}


train, valid, test = (several(x, y) for x, y in (data.train, data.valid, data.test))
print(f"the wide columns: {wide}\nthe deep columns: {deep}")


class Functional(Regressor):  # each layer is called on the output of others
    def build_model(self, spec):
        given = {name: keras.Input(shape, name=name) for name, shape in spec.input_shape.items()}
        hidden = keras.layers.Dense(30, activation="relu")(given["deep"])
        hidden = keras.layers.Dense(30, activation="relu")(hidden)
        both = keras.layers.Concatenate()([given["wide"], hidden])
        outputs = {"main": keras.layers.Dense(1)(both), "auxiliary": keras.layers.Dense(1)(hidden)}
        return keras.Model(given, outputs)


class WideAndDeep(keras.Model):  # layers are created first, and call() uses them
    def __init__(self):
        super().__init__()
        self.lower, self.upper = (keras.layers.Dense(30, activation="relu") for _ in range(2))
        self.main, self.auxiliary = (keras.layers.Dense(1) for _ in range(2))

    def call(self, given):
        hidden = self.upper(self.lower(given["deep"]))
        both = keras.ops.concatenate([given["wide"], hidden], axis=-1)
        return {"main": self.main(both), "auxiliary": self.auxiliary(hidden)}


class Subclassed(Regressor):
    def build_model(self, spec):
        return WideAndDeep()


predictions = []
for kind in (Functional, Subclassed):
    model = kind(normalize="standard", epochs=args.epochs, random_state=args.seed)
    model.fit(*train, validation_data=valid)
    predictions.append(model.predict(test[0]))
    print(f"{kind.__name__}: held-out R2 {model.score(*test):.3f}, the mean of its two outputs")
difference = abs(predictions[0]["main"] - predictions[1]["main"]).max()
print(f"the predictions of the two ways differ by at most {difference:.2g}")

# With a single output there is a ready architecture, which also scales y.
ready = Regressor(model="wide_and_deep", epochs=args.epochs, random_state=args.seed)
ready.fit(train[0], data.train.y, validation_data=(valid[0], data.valid.y))
print(f'model="wide_and_deep": held-out R2 {ready.score(test[0], data.test.y):.3f}')

curves = model.history_.plot(["loss", "main_mae", "auxiliary_mae"])
curves[0].figure.savefig(args.out / "learning_curves.png")
ready.plot_residuals(test[0], data.test.y).figure.savefig(args.out / "residuals.png")
print("\nfiles written:", args.out / "learning_curves.png", args.out / "residuals.png", sep="\n  ")
