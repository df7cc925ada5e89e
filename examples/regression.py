"""Squared and absolute loss for predicting numbers, and what a few wrong targets do to them.

    python examples/regression.py                                  progress of diabetes, offline
    python examples/regression.py --data housing.csv.gz --target median_house_value

Text columns and missing values are welcome: the table is encoded inside the model.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import keras

from trainer import Regressor, datasets, plots

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="diabetes", help="a data set's name or a file")
parser.add_argument("--target", help="for a table: the column to predict")
parser.add_argument("--epochs", type=int, default=40, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/regression"), help="where files go")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

data = datasets.load(args.data, target=args.target, seed=args.seed)
if data.task != "regression":
    raise SystemExit(f"--data {args.data}: has classes; use examples/quickstart.py")
print(data, data.description, sep="\n")
x, y = data.train
x_test, y_test = data.test

# In three of a hundred training rows somebody typed the decimal point one place too far right. The
# validation and test rows are correct.
slipped = np.random.default_rng(args.seed).random(len(y)) < 0.03
targets = {"correct targets": y, "slipped points": np.where(slipped, 10 * y, y)}
losses = {"squared": "mse", "absolute": "mae"}
print(f"{slipped.sum()} of {len(y)} training targets get a slipped decimal point")

runs, rows = {}, []
for kind, y_train in targets.items():
    for name, loss in losses.items():
        # Stop when the validation error has not improved for a while, and restore the best epoch.
        patience = keras.callbacks.EarlyStopping("val_mae", patience=5, restore_best_weights=True)
        model = Regressor(
            loss=loss, epochs=args.epochs, callbacks=[patience], random_state=args.seed
        )
        model.fit(x, y_train, validation_data=data.valid)
        runs[f"{name}, {kind}"] = model
        predicted = model.predict(x_test)
        rows.append(
            {
                "loss": name,
                "trained on": kind,
                "epochs": len(model.history_),
                "RMSE": root_mean_squared_error(y_test, predicted),
                "MAE": mean_absolute_error(y_test, predicted),
                "R2": model.score(x_test, y_test),
            }
        )

# The squared loss aims at the mean, where an error of 10 counts as much as a hundred errors of 1:
# a few wrong targets pull it away. The absolute loss aims at the median, which is far more robust.
table = pd.DataFrame(rows)
print("on the test rows:", table.round(3).to_string(index=False), sep="\n")
table.to_csv(args.out / "scores.csv", index=False)

curves = plots.plot_history({label: run.history_ for label, run in runs.items()}, names=["mae"])
curves[0].figure.savefig(args.out / "learning_curves.png")

# Residuals should scatter around 0 for every prediction. Above 0 the model predicts too little.
figure, axes = plt.subplots(2, 2, figsize=(11, 8), sharex=True, sharey=True, layout="constrained")
for (label, run), ax in zip(runs.items(), axes.flat, strict=True):
    run.plot_residuals(x_test, y_test, ax=ax)
    ax.set_title(f"{label}\n{ax.get_title()}")
figure.savefig(args.out / "residuals.png")

print("\nfiles written:")
for name in ("scores.csv", "learning_curves.png", "residuals.png"):
    print(f"  {args.out / name}")
