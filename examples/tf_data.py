"""The same Trainer fed from files by a tf.data pipeline, for data that do not fit into memory.

    python examples/tf_data.py
    python examples/tf_data.py --data breast_cancer

The script writes a data set to several CSV files (shards), reads them back in parallel while the
network trains, and compares the score with that of the same network trained on arrays.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import tensorflow as tf

from trainer import Classifier, datasets, plots

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="a data set's name, a file or a folder")
parser.add_argument("--target", help="for a table: the column to predict")
parser.add_argument("--epochs", type=int, default=15, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/tf_data"), help="where files go")
args = parser.parse_args()
(args.out / "shards").mkdir(parents=True, exist_ok=True)

data = datasets.load(args.data, target=args.target, seed=args.seed)
shape = data.train.x.shape[1:]
columns = int(np.prod(shape))
if data.class_names is None or not np.issubdtype(np.asarray(data.train.y).dtype, np.integer):
    raise SystemExit(f"--data {args.data}: needs integer classes, such as digits")
print(data, data.description, sep="\n")


def write(part, rows, n_shards):
    """Write the rows to n_shards files without headers: the label, then the values."""
    x, y = rows
    table = pd.DataFrame(np.asarray(x).reshape(len(x), columns))
    table.insert(0, "label", np.asarray(y))
    paths = [args.out / "shards" / f"{part}-{i}-of-{n_shards}.csv" for i in range(n_shards)]
    for i, path in enumerate(paths):
        table.iloc[i::n_shards].to_csv(path, header=False, index=False)
    return [str(path) for path in paths]


def parse(lines):
    """Parse a batch of lines to (x, y); each x has the shape of a row."""
    # Empty tensors stand for "no default value": a missing value in a file is an error.
    fields = [tf.constant([], tf.int64)] + [tf.constant([], tf.float32)] * columns
    label, *values = tf.io.decode_csv(lines, fields)
    return tf.reshape(tf.stack(values, axis=1), (-1, *shape)), label


def pipeline(paths, shuffle=False):
    """Return batches of (x, y) from the files."""
    files = tf.data.Dataset.from_tensor_slices(paths)
    # Take one line of each file in turn, so that neighbours in a file are not in the same batch.
    lines = files.interleave(
        tf.data.TextLineDataset, cycle_length=len(paths), num_parallel_calls=tf.data.AUTOTUNE
    )
    if shuffle:
        lines = lines.shuffle(1_000, seed=args.seed)  # this many lines are held in memory
    batches = lines.batch(32).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)  # read the next batches during a training step


paths = {
    "train": write("train", data.train, n_shards=4),
    "valid": write("valid", data.valid, n_shards=1),
    "test": write("test", data.test, n_shards=1),
}
from_files = (
    (pipeline(paths["train"], shuffle=True),),
    pipeline(paths["valid"]),
    (pipeline(paths["test"]),),
)
histories = {}
for name, (train, valid, test) in {
    "from files": from_files,
    "from arrays": (data.train, data.valid, data.test),
}.items():
    started = time.perf_counter()
    model = Classifier(model="mlp", epochs=args.epochs, random_state=args.seed)
    model.fit(*train, validation_data=valid)
    seconds = time.perf_counter() - started
    histories[name] = model.history_
    print(f"{name}: held-out accuracy {model.score(*test):.3f}, trained in {seconds:.1f} s")
plots.plot_history(histories)[0].figure.savefig(args.out / "learning_curves.png")

print("\nfiles written:")
for path in (args.out / "learning_curves.png", *sum(paths.values(), [])):
    print(f"  {path}")
