"""A custom plugin in fifteen lines: it reports the class of images the network gets worst.

python examples/custom_callback.py
"""

import argparse
import os
from pathlib import Path
from typing import Annotated

import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
from trainer import Classifier, Int, callbacks, datasets

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=12, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/custom_callback"), help="for files")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)


@callbacks.register("worst_class")
class WorstClass(callbacks.Callback):
    every: Annotated[int, Int(1, 10)] = 1

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.every == 0:
            x, y = self.session.sample(validation=True)[:2]
            guess = self.session.network.core(x, training=False).numpy().argmax(axis=1)
            recalls = {int(c): (guess[y == c] == c).mean() for c in set(y.numpy())}
            worst = min(recalls, key=recalls.get)
            self.seen.append((epoch + 1, worst, float(recalls[worst])))


# A field is a parameter: of the plugin, of a search, and of a saved run. Plain attributes of a
# plugin, such as `seen`, are restored when a killed run resumes.
data = datasets.load("digits", seed=args.seed)
model = Classifier(epochs=args.epochs, callbacks=["worst_class"], random_state=args.seed)
model.set_params(callbacks__worst_class__every=2)
model.fit(*data.train, validation_data=data.valid)

table = pd.DataFrame(model.callbacks_[0].seen, columns=["epoch", "worst class", "recall"])
print(table.to_string(index=False))
axes = table.plot("epoch", "recall", marker="o", ylabel="recall of the worst class", legend=False)
axes.figure.savefig(args.out / "worst_class.png")
table.to_csv(args.out / "worst_class.csv", index=False)

print("\nfiles written:")
for name in ("worst_class.csv", "worst_class.png"):
    print(f"  {args.out / name}")
