"""Classify short comments in English and in Chinese, alone and as a column of a table.

    python examples/text_classification.py                    comments made here, no network needed
    python examples/text_classification.py --model text_rnn   another architecture
    python examples/text_classification.py --data imdb        film reviews, downloaded once

Text goes in as it is: words or characters are found out from the training rows, and the
vocabulary is part of the saved model.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

from trainer import Classifier, datasets

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", choices=["made", "imdb"], default="made")
parser.add_argument("--model", help="text (the default), text_rnn or transformer")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/text_classification"))
args = parser.parse_args()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
args.out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(args.seed)

ENGLISH = {
    "good": ["great fun", "not boring at all", "a clever plot", "I would see it again"],
    "bad": ["rather boring", "not clever", "no fun at all", "I left before the end"],
}
CHINESE = {
    "good": ["非常精彩", "一点也不无聊", "演员很出色", "值得再看一遍"],
    "bad": ["相当无聊", "并不精彩", "演员很一般", "没看完就走了"],
}
REST = {"english": ["the film of last night", "by a director from Rome", "two hours long"]}
REST["chinese"] = ["昨天看的电影", "罗马导演的作品", "片长两个小时"]


def comments(verdicts, rest, rows, joined):
    """Return comments that say one thing that matters and one that does not, and their labels."""
    labels = rng.choice(["bad", "good"], rows)
    parts = [rng.permutation([rng.choice(rest), rng.choice(verdicts[label])]) for label in labels]
    return [joined.join(part) for part in parts], labels


if args.data == "imdb":
    data = datasets.load("imdb", as_text=True, seed=args.seed)
    sets = {"imdb": (data.train, data.test)}
else:
    sets = {}
    for language, verdicts, joined in (("english", ENGLISH, ", "), ("chinese", CHINESE, "，")):
        made = [comments(verdicts, REST[language], rows, joined) for rows in (300, 100)]
        sets[language] = made

for name, ((x_train, y_train), (x_test, y_test)) in sets.items():
    classifier = Classifier(model=args.model, random_state=args.seed, verbose=0)
    classifier.fit(x_train, y_train)
    print(f"{name}: accuracy {classifier.score(x_test, y_test):.3f}")
    print(next(line for line in classifier.summary().splitlines() if "cut into" in line))

    # The file holds the vocabulary: the loaded classifier takes text too.
    path = classifier.save(args.out / f"{name}.keras")
    loaded = Classifier.load(path)
    print(f"{x_test[0]!r:.60} is {loaded.predict([x_test[0]])[0]}; saved as {path}")

# Text as one column of a table: the price matters too.
if args.data == "made":
    text, verdict = comments(ENGLISH, REST["english"], 400, ", ")
    price = rng.uniform(5, 25, len(text))
    table = pd.DataFrame({"comment": [f"{t}, {i}" for i, t in enumerate(text)], "price": price})
    recommend = np.where((verdict == "good") & (price < 20), "yes", "no")
    classifier = Classifier(random_state=args.seed, verbose=0).fit(table[:300], recommend[:300])
    print(f"table: accuracy {classifier.score(table[300:], recommend[300:]):.3f}")
