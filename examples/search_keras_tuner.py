"""keras-tuner's methods: Bayesian search and hyperband, and a search that is killed and resumes.

    python examples/search_keras_tuner.py

The class declares the space: domains beside defaults, a condition, and a callback's field.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import keras_tuner

from search import SearchCallback, TunerSearch, hypermodel
from trainer import Choice, Classifier, Float, datasets, models


class Network(Classifier):
    """Dense layers, plain or self-normalising; dropout matters only for the plain ones."""

    activation: Annotated[str, Choice("relu", "selu")] = "relu"
    dropout: Annotated[float, Float(0.0, 0.5, when={"activation": "relu"})] = 0.0
    learning_rate: Annotated[float, Float(1e-4, 3e-2, log=True)] = 1e-3

    def build_model(self, spec):
        chosen = {"activation": self.activation, "dropout": self.dropout}
        return models.deep(spec, depth=3, units=64, **chosen)


class KilledAtThirdTrial(SearchCallback):
    def on_trial_end(self, study, trial):
        if sum(trial.state == "completed" for trial in study.trials) == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16, help="of the Bayesian search")
    parser.add_argument("--epochs", type=int, default=9, help="maximum per trial of hyperband")
    parser.add_argument("--seed", type=int, default=42, help="of data and trials")
    parser.add_argument("--out", type=Path, default=Path("output/search_keras_tuner"))
    parser.add_argument("--die", action="store_true", help="what the second process does")
    args = parser.parse_args()
    data = datasets.load("digits", seed=args.seed)

    # 1. After three random trials per parameter a Gaussian process chooses. `ema` is a callback;
    # its decay is searched, too. A second process is killed at its third trial; this one resumes.
    search = TunerSearch(
        Network(normalize="minmax", epochs=6, callbacks=["ema"]),
        tuner="bayesian",
        max_trials=args.trials,
        objective="val_accuracy",
        directory=args.out / "study",  # the study is saved here, and resumed
        seed=args.seed,
        callbacks=[KilledAtThirdTrial()] if args.die else [],
    )
    if not args.die:
        # Python warns about what killed processes leave behind
        code = subprocess.call([sys.executable, "-W", "ignore::UserWarning", *sys.argv, "--die"])
        print("the second process ended with", code)
    search.fit(*data.train, validation_data=data.valid)
    if args.die:
        raise SystemExit("the study was complete: it was not killed")
    print(search.summary())
    search.plot_history().figure.savefig(args.out / "history.png")
    search.plot_parallel().figure.savefig(args.out / "parallel.png")
    print(f"bayesian: held-out accuracy {search.score(*data.test):.3f}\n")

    # 2. Hyperband starts many trials with few epochs, and promotes the best: these resume from
    # their own last state, optimizer included.
    network = Network(normalize="minmax", epochs=args.epochs)
    hyperband = TunerSearch(network, tuner="hyperband", seed=args.seed)
    hyperband.fit(*data.train, validation_data=data.valid)
    hyperband.plot_rungs().figure.savefig(args.out / "rungs.png")
    print(f"hyperband: held-out accuracy {hyperband.score(*data.test):.3f}\n")

    # 3. keras-tuner's own tuner, for those who drive it themselves: one trial after another.
    tuner = keras_tuner.RandomSearch(
        hypermodel(network.set_params(epochs=4, random_state=args.seed)),
        objective="val_accuracy",
        max_trials=3,
        directory=args.out,
        overwrite=True,
    )
    tuner.search(*data.train, validation_data=data.valid, verbose=0)
    best = tuner.get_best_models(1)[0]  # a Keras model; best.trainer is the Trainer
    print(f"keras-tuner's own: held-out accuracy {best.trainer.score(*data.test):.3f}")

    print("\nfiles written:")
    print(*(f"  {path}" for path in sorted(args.out.rglob("[!.]*")) if path.is_file()), sep="\n")


if __name__ == "__main__":
    main()
