"""The default for text against TF-IDF with logistic regression, and on Chinese text made here.

    python -m benchmarks.texts --data movie_snippets.csv.gz [--seeds 3] [--models text,transformer]

The file has the columns text and label. Its rows are split 60/20/20 by a fixed seed. Both sides are
fitted on the same training rows and scored on the same test rows: Classifier() with the validation
rows, which end its training, over several seeds; and scikit-learn's TfidfVectorizer of words and
pairs with LogisticRegression, whose C is chosen on the validation rows.

The Chinese text has a rule that can be learned: a comment of a few clauses is good or bad by one
word of praise or blame in it, which 不 (not) in front of it turns round.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

SPLIT_SEED = 0
CS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
CHINESE_ROWS = 3_000

Part = tuple[np.ndarray, np.ndarray]


def parts(x: np.ndarray, y: np.ndarray) -> tuple[Part, Part, Part]:
    """Split into training, validation and test rows, 60/20/20, stratified."""
    from sklearn.model_selection import train_test_split

    rows, test = train_test_split(
        np.arange(len(x)), test_size=0.2, stratify=y, random_state=SPLIT_SEED
    )
    train, valid = train_test_split(rows, test_size=0.25, stratify=y[rows], random_state=SPLIT_SEED)
    return (x[train], y[train]), (x[valid], y[valid]), (x[test], y[test])


def chinese(rows: int, seed: int = 0) -> Part:
    """Return comments in Chinese, and whether each is good."""
    rng = np.random.default_rng(seed)
    things = ["这部电影", "剧情", "演员的表演", "音乐", "画面", "结尾", "导演的手法", "对白"]
    praise = ["精彩", "好看", "感人", "有趣", "成功", "自然"]
    blame = ["无聊", "难看", "失望", "混乱", "做作", "沉闷"]
    plain = [
        "我昨天看了",
        "和朋友一起去的",
        "票价四十元",
        "片长两个小时",
        "影院人很多",
        "是去年拍的",
    ]
    texts, labels = [], []
    for _ in range(rows):
        good, turned = rng.random() < 0.5, rng.random() < 0.4
        word = rng.choice(praise if good != turned else blame)
        verdict = f"{rng.choice(things)}{'不' if turned else '很'}{word}"
        clauses = [*rng.choice(plain, rng.integers(1, 4), replace=False), verdict]
        texts.append("，".join(rng.permutation(clauses)) + "。")
        labels.append("good" if good else "bad")
    return np.array(texts, object), np.array(labels)


def baseline(train: Part, valid: Part, test: Part, *, analyzer: str) -> tuple[float, float]:
    """Return the accuracy of TF-IDF with logistic regression, and its seconds."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    started = time.perf_counter()
    words = TfidfVectorizer(ngram_range=(1, 2), analyzer=analyzer)
    x = words.fit_transform(train[0])
    x_valid, x_test = words.transform(valid[0]), words.transform(test[0])
    fitted = [LogisticRegression(C=c, max_iter=1000).fit(x, train[1]) for c in CS]
    best = max(fitted, key=lambda model: model.score(x_valid, valid[1]))
    return float(best.score(x_test, test[1])), time.perf_counter() - started


def ours(
    train: Part, valid: Part, test: Part, *, model: str | None, seed: int
) -> tuple[float, float]:
    """Return the accuracy of a Classifier, and the seconds of its fit."""
    from trainer import Classifier

    made = Classifier(model=model, random_state=seed, verbose=0)
    started = time.perf_counter()
    made.fit(*train, validation_data=valid)
    seconds = time.perf_counter() - started
    return made.score(*test), seconds


def measure(name: str, data: Part, models: Sequence[str | None], seeds: int, analyzer: str) -> None:
    """Measure both sides on one data set, and print a row for each."""
    split = parts(*data)
    found, seconds = baseline(*split, analyzer=analyzer)
    print(f"| {name} | TF-IDF, logistic regression | {found:.4f} | | {seconds:.1f} |", flush=True)
    for model in models:
        runs = [ours(*split, model=model, seed=seed) for seed in range(seeds)]
        scores = ", ".join(f"{score:.4f}" for score, _ in runs)
        mean = float(np.mean([score for score, _ in runs]))
        slowest = max(taken for _, taken in runs)
        said = f"| {name} | {model or 'default'} | {scores} | {mean - found:+.4f} | {slowest:.1f} |"
        print(said, flush=True)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a CSV file with the columns text and label")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default="", help="other architectures, separated by commas")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    models = [None, *filter(None, args.models.split(","))]
    print(
        "| data | model | accuracy on test rows | mean gain | most seconds |\n|---|---|---|---|---|"
    )
    if args.data:
        frame = pd.read_csv(args.data)
        rows = (frame["text"].to_numpy(object), frame["label"].to_numpy())
        measure(os.path.basename(args.data), rows, models, args.seeds, "word")
    measure("Chinese, made here", chinese(CHINESE_ROWS), models, args.seeds, "char")


if __name__ == "__main__":
    main()
