"""Which rows are trained on and which are held out, and what classes weigh."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from trainer import Classifier, Regressor
from trainer.data.preparation import MissingTargets, Rows, class_weights, collect, split_rows
from trainer.data.streams import Stream
from trainer.data.targets import Classes
from trainer.tasks import Classification

ROWS = 50
X = np.arange(ROWS, dtype=np.float32)[:, None]
Y = np.random.default_rng(0).normal(size=ROWS).astype(np.float32)
LABELS = np.array(["often"] * 40 + ["seldom"] * 10)


class Linear(Regressor):
    epochs = 1
    optimizer = "sgd"
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def split(share: float = 0.2, **options: Any) -> tuple[Rows, Rows]:
    return split_rows(
        Rows(X, LABELS, np.arange(ROWS, dtype=float)),
        share,
        stratify=options.get("stratify"),
        shuffle=options.get("shuffle", True),
        seed=options.get("seed", 0),
    )


def test_every_row_is_in_one_part_with_its_target_and_weight() -> None:
    train, valid = split()
    assert (train.n, valid.n) == (40, 10)
    assert sorted([*train.x[:, 0], *valid.x[:, 0]]) == list(range(ROWS))
    for part in (train, valid):
        rows = part.x[:, 0].astype(int)
        np.testing.assert_array_equal(part.y, LABELS[rows])
        np.testing.assert_array_equal(part.weight, rows)


def test_each_class_has_its_share_in_both_parts() -> None:
    for seed in range(5):
        train, valid = split(stratify=LABELS, seed=seed)
        assert np.sum(valid.y == "seldom") == 2
        assert np.sum(train.y == "seldom") == 8


def test_the_rows_held_out_are_a_function_of_the_seed() -> None:
    assert split(seed=1)[1].x.tolist() == split(seed=1)[1].x.tolist()
    assert split(seed=1)[1].x.tolist() != split(seed=2)[1].x.tolist()


def test_without_shuffling_the_last_rows_are_held_out() -> None:
    train, valid = split(shuffle=False)
    np.testing.assert_array_equal(train.x[:, 0], np.arange(40))
    np.testing.assert_array_equal(valid.x[:, 0], np.arange(40, 50))


@pytest.mark.parametrize(("share", "held"), [(0.01, 1), (0.21, 11), (0.97, 49)])
def test_the_share_is_rounded_up_to_whole_rows(share: float, held: int) -> None:
    assert split(share)[1].n == held


@pytest.mark.parametrize(
    ("labels", "share", "message"),
    [
        (np.array(["a"] * 49 + ["b"]), 0.2, "the class 'b' has a single row"),
        (np.arange(ROWS) // 2, 0.2, "with 10 of 50 rows held out, .* classes .25."),
    ],
)
def test_a_stratified_split_that_cannot_be_made_is_refused(
    labels: np.ndarray, share: float, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"validation_split={share}: .*{message}"):
        split(share, stratify=labels)


def test_a_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"validation_split=0\.99: leaves none of 50 rows"):
        split(0.99)


def test_fit_trains_on_the_one_part_and_validates_on_the_other() -> None:
    by_split = Linear(validation_split=0.2, shuffle=False).fit(X, Y)
    by_hand = Linear(shuffle=False).fit(X[:40], Y[:40], validation_data=(X[40:], Y[40:]))
    np.testing.assert_array_equal(by_split.predict(X), by_hand.predict(X))
    assert by_split.history_["val_loss"] == by_hand.history_["val_loss"]
    expected = by_split.evaluate(X[40:], Y[40:])
    assert by_split.history_["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-5)
    assert by_split.history_["val_mae"][-1] == pytest.approx(expected["mae"], rel=1e-5)


def test_a_classifier_holds_out_a_row_of_every_class() -> None:
    class Counting(Classifier):
        epochs = 1

        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(2)])

    for y in (LABELS, LABELS == "often", pd.Series(LABELS, index=np.arange(ROWS)[::-1])):
        model = Counting(validation_split=0.1, random_state=0, shuffle=True).fit(X, y)
        assert len(model.classes_) == 2
        assert np.isfinite(model.history_["val_loss"]).all()


def test_weights_follow_the_rows_of_a_split() -> None:
    weight = np.random.default_rng(1).uniform(0.5, 2, size=ROWS)
    by_split = Linear(validation_split=0.2, shuffle=False).fit(X, Y, sample_weight=weight)
    by_hand = Linear(shuffle=False).fit(
        X[:40], Y[:40], sample_weight=weight[:40], validation_data=(X[40:], Y[40:], weight[40:])
    )
    np.testing.assert_array_equal(by_split.predict(X), by_hand.predict(X))
    assert by_split.history_["val_loss"] == by_hand.history_["val_loss"]


def test_validation_data_win_over_validation_split() -> None:
    both = Linear(validation_split=0.5).fit(X, Y, validation_data=(X, Y))
    alone = Linear().fit(X, Y, validation_data=(X, Y))
    assert both.history_["val_loss"] == alone.history_["val_loss"]


# ---- class weights ---------------------------------------------------------------------------


def weights_of(value: Any, labels: np.ndarray = LABELS, one_hot: bool = False) -> dict[int, float]:
    targets = Classes.learn(labels, "y", one_hot=one_hot)
    return class_weights(value, targets, targets.encode(labels, "y"))


@pytest.mark.parametrize("one_hot", [False, True])
def test_balanced_gives_every_class_the_same_sum_of_weights(one_hot: bool) -> None:
    found = weights_of("balanced", one_hot=one_hot)
    assert found == {0: 50 / (2 * 40), 1: 50 / (2 * 10)}
    assert 40 * found[0] == 10 * found[1]


def test_labels_that_are_left_out_weigh_one() -> None:
    assert weights_of({"seldom": 4}) == {0: 1.0, 1: 4.0}
    assert weights_of({np.int64(7): 2.0}, np.array([7, 9] * 5)) == {0: 2.0, 1: 1.0}
    assert weights_of({True: 2}, LABELS == "often") == {0: 1.0, 1: 2.0}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("even", ValueError, "class_weight='even': must be 'balanced' or"),
        ([1, 2], TypeError, r"class_weight=\[1, 2\]: must be 'balanced' or"),
        ({"rare": 1}, ValueError, "'rare' is not a class of y, which has .*'often', 'seldom'"),
        ({"often": -1}, ValueError, r"class_weight=\{'often': -1\}: must be a number, 0 or more"),
        ({"often": np.inf}, ValueError, "must be a number, 0 or more"),
        ({"often": "2"}, ValueError, "must be a number, 0 or more"),
    ],
)
def test_class_weights_that_are_none_are_refused(
    value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        weights_of(value)


def test_several_labels_a_row_have_no_class_weights() -> None:
    with pytest.raises(ValueError, match="a row has one weight for all of them"):
        weights_of("balanced", np.eye(3, dtype=int)[np.arange(9) % 3] | np.eye(3, dtype=int)[0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("one_hot", [False, True])
def test_balanced_weights_are_those_of_scikit_learn(weighted: bool, one_hot: bool) -> None:
    weight = np.random.default_rng(0).uniform(0.1, 2, size=ROWS) if weighted else None
    classes = Classes.learn(LABELS, "y", one_hot=one_hot)
    found = class_weights("balanced", classes, classes.encode(LABELS, "y"), weight)
    expected = compute_class_weight(
        "balanced", classes=np.unique(LABELS), y=LABELS, sample_weight=weight
    )
    np.testing.assert_allclose([found[0], found[1]], expected)


def test_a_class_without_rows_leaves_the_balanced_weights_of_the_others_alone() -> None:
    rows = np.eye(3)[[0, 0, 0, 2]]
    classes = Classes.learn(rows, "y", one_hot=True)
    found = class_weights("balanced", classes, rows)
    np.testing.assert_allclose([found[0], found[2]], [4 / 6, 4 / 2])
    assert np.isfinite(found[1])


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_weights_of_a_stream_are_those_of_scikit_learn(weighted: bool) -> None:
    weight = np.random.default_rng(0).uniform(0.1, 2, size=ROWS) if weighted else None
    parts = (X, LABELS) if weight is None else (X, LABELS, weight)
    data = tf.data.Dataset.from_tensor_slices(parts).batch(8)
    stream = Stream.of(data, batch_size=8, name="x")
    task = Classification(class_weight="balanced")
    found = task.stream_weights(task.learn(stream), stream)
    expected = compute_class_weight(
        "balanced", classes=np.unique(LABELS), y=LABELS, sample_weight=weight
    )
    assert found is not None
    np.testing.assert_allclose([found[0], found[1]], expected)


def test_a_data_loader_of_pytorch_is_refused_with_what_to_pass() -> None:
    loader = type("DataLoader", (), {"__module__": "torch.utils.data.dataloader"})()
    with pytest.raises(TypeError, match=r"x is a PyTorch DataLoader, .* fit\(\*dataset\.tensors\)"):
        collect(loader, None, None, batch_size=2, needs_y=None)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_label_that_is_missing_among_text_is_found(kind: Any) -> None:
    lacks = MissingTargets("drop").rows(kind(["a", "b", float("nan"), "a"]))
    assert lacks is not None and lacks.tolist() == [False, False, True, False]


@pytest.mark.parametrize("estimator", [Classifier, Regressor])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[0, 1], [1]] * 25, "y: its rows differ in length"),
        ({}, r"y=\{\}: has no parts"),
        (({0, 1}), "y is of type set: must be an array or a list with one target for each"),
        ("text", "y is of type str: must be an array"),
        (5, "y is of type int: must be an array"),
        ({"a": [0] * 50}, "several outputs must be arrays each, not lists"),
        ([1], "x has 50 rows, but y has 1 row: "),
        (tuple([0, 1] for _ in range(50)), "y is taken as 50 outputs: write np.asarray"),
    ],
)
def test_what_is_not_one_target_for_each_row_is_refused(
    estimator: Any, y: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        estimator(epochs=1).fit(X, y)


def test_a_generator_is_not_taken_as_targets() -> None:
    with pytest.raises(ValueError, match=r"y is of type generator: .*; write list\(y\)"):
        Classifier(epochs=1).fit(X, (i % 2 for i in range(ROWS)))


def test_a_tuple_of_rows_is_said_to_be_several_inputs() -> None:
    rows = tuple([float(i), 1.0] for i in range(ROWS))
    with pytest.raises(ValueError, match=r"x has 2 rows.* x is taken as 50 inputs: write np.as"):
        Classifier(epochs=1).fit(rows, LABELS)
