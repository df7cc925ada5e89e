"""One training on several workers: two on this machine, as on the hosts of a cluster.

    python examples/distributed_training.py                                    two workers
    python examples/distributed_training.py --workers 3 --epochs 5
    trainer launch --hosts a:5000,b:5000 --index 0 examples/distributed_training.py
    srun trainer launch examples/distributed_training.py

Called by itself, it launches its own workers; `trainer launch` runs it as one of those that
TF_CONFIG lists. All workers run the same lines. Each takes its share of every batch; the first one,
the chief, writes the files. docs/clusters.md has Slurm, Kubernetes and Ray.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
from trainer import Classifier, datasets, launch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--workers", type=int, default=2, help="on this machine")
parser.add_argument("--epochs", type=int, default=10, help="number of passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/distributed_training"), help="files")
args = parser.parse_args()

if "TF_CONFIG" not in os.environ:
    launch(__file__, *sys.argv[1:], workers=args.workers)
    print("\nfiles written:", args.out / "model.keras", args.out / "history.csv", sep="\n  ")
    sys.exit()

# The batch is that of all workers together, so their number changes the speed and not the training.
digits = datasets.load("digits", seed=args.seed)
model = Classifier(
    strategy="multi_worker",
    model="mlp",
    batch_size=64,
    epochs=args.epochs,
    random_state=args.seed,
)
model.fit(*digits.train, validation_data=digits.valid)

# Evaluation needs no other worker: each has the whole model.
accuracy = model.score(*digits.test)
print(f"held-out accuracy {accuracy:.3f}")
task = json.loads(os.environ["TF_CONFIG"])["task"]
if task["index"] == 0:
    args.out.mkdir(parents=True, exist_ok=True)
    model.save(args.out / "model.keras")
    model.history_.to_csv(args.out / "history.csv")
