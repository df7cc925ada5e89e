"""Finding a learning rate: first by hand, in a loop, then with a search on all cores.

    python examples/search_by_hand.py
    python examples/search_by_hand.py --data fashion_mnist      clothes; downloaded once

The loop shows what a learning rate does. The search answers the same question in fewer lines, tries
rates between the obvious ones, several at once, and can add trials without starting over.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
from search import TunerSearch
from trainer import Classifier, Float, datasets, plots

RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def by_hand(data, args):
    """Train once per rate; return the validation accuracy by rate."""
    histories, scores = {}, {}
    for rate in RATES:
        model = Classifier(
            model="mlp", epochs=args.epochs, learning_rate=rate, random_state=args.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that some do not learn is the lesson
            model.fit(*data.train, validation_data=data.valid)
        histories[f"rate {rate:g}"] = model.history_
        scores[rate] = model.score(*data.valid)
        print(f"rate {rate:g}: validation accuracy {scores[rate]:.3f}")
    axes = plots.plot_history(histories, names=["loss", "accuracy"])
    axes[0].figure.savefig(args.out / "by_hand.png")
    return scores


def searched(data, args, trials):
    """Answer the same question with a search, whose results stay in the directory."""
    search = TunerSearch(
        Classifier(model="mlp", epochs=args.epochs),
        {"learning_rate": Float(1e-5, 1.0, log=True)},  # all powers of ten are equally likely
        tuner="random",
        max_trials=trials,
        objective="val_accuracy",
        directory=args.out / "study",
        seed=args.seed,
    )
    return search.fit(*data.train, validation_data=data.valid)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="a data set's name, a file or a folder")
    parser.add_argument("--target", help="for a table: the column to predict")
    parser.add_argument("--epochs", type=int, default=10, help="number of passes over the data")
    parser.add_argument("--trials", type=int, default=16, help="how many rates to search")
    parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same trials")
    parser.add_argument("--out", type=Path, default=Path("output/search_by_hand"), help="for files")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = datasets.load(args.data, target=args.target, seed=args.seed)
    if data.class_names is None:
        raise SystemExit(f"--data {args.data}: has numbers to predict; use digits, for example")
    print(data, data.description, sep="\n")

    # 1. By hand. A rate that is too small gets nowhere; one that is too large never settles.
    began = time.perf_counter()
    scores = by_hand(data, args)
    best = max(scores, key=scores.get)
    print(f"by hand: {len(scores)} rates, the best {best:g}, {time.perf_counter() - began:.0f} s\n")

    # 2. As a search: half of the trials first, to see how it goes.
    search = searched(data, args, (args.trials + 1) // 2)

    # 3. More trials: the same call resumes the study in the directory. After a kill, too.
    search = searched(data, args, args.trials)
    print(search.summary())
    search.plot_history().figure.savefig(args.out / "history.png")
    search.plot_slice()[0].figure.savefig(args.out / "score_by_rate.png")
    search.plot_curves("loss").figure.savefig(args.out / "learning_curves.png")

    # 4. The search now acts as the best model, trained with the rate it found.
    print(f"searched: the best rate is {search.best_params_['learning_rate']:.2g}")
    print(f"held-out accuracy {search.score(*data.test):.3f}")

    print("\nfiles written:")
    print(*(f"  {path}" for path in sorted(args.out.rglob("[!.]*")) if path.is_file()), sep="\n")


if __name__ == "__main__":
    main()
