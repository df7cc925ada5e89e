"""skill: one measure, 0 for the best constant prediction and 1 for a perfect one."""

import math

import numpy as np
import pytest

from trainer.data.labels import Labels
from trainer.doctor import skill

THREE = np.array([0, 0, 0, 1, 1, 2])
LABELS = Labels.learn(THREE, "y")
MULTI = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 0], [1, 0, 1]])


@pytest.mark.parametrize("one_hot", [False, True])
def test_shares_of_the_classes_have_no_skill_and_the_truth_has_all_of_it(one_hot):
    true = np.eye(3)[THREE] if one_hot else THREE
    constant = skill.of_labels(LABELS, true, np.tile([1 / 2, 1 / 3, 1 / 6], (6, 1)))
    assert constant.skill == pytest.approx(0) and constant.fit == pytest.approx(0)
    assert constant.score == 0.5 and constant.spread == 0
    assert constant.recalls.tolist() == [1, 0, 0] and constant.predicted.tolist() == [1, 0, 0]
    perfect = skill.of_labels(LABELS, true, np.eye(3)[THREE])
    assert perfect.skill == perfect.score == 1 and perfect.fit == pytest.approx(1)
    assert perfect.recalls.tolist() == [1, 1, 1]


def test_a_class_without_rows_has_no_recall():
    found = skill.of_labels(LABELS, np.array([0, 1, 1]), np.eye(3)[[0, 1, 2]])
    assert found.recalls[:2].tolist() == [1, 0.5] and math.isnan(found.recalls[2])
    assert found.predicted == pytest.approx([1 / 3] * 3)


def test_a_threshold_moves_what_is_predicted_and_not_the_fit():
    labels = Labels.learn(np.array(["no", "yes"]), "y")
    true, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.3, 0.4])
    both = np.stack([1 - p, p], axis=1)
    before = skill.of_labels(labels, true, both)
    labels.thresholds = (0.2,)
    after = skill.of_labels(labels, true, both)
    assert before.recalls.tolist() == [1, 0] and after.recalls.tolist() == [0.5, 1]
    assert after.predicted.tolist() == [0.25, 0.75]
    assert before.fit == after.fit


def test_every_label_has_its_recall_at_its_own_place_also_beside_constant_ones():
    labels = Labels.learn(MULTI, "y")
    p = np.array([[0.9, 0.1, 0.1], [0.2, 0.1, 0.9], [0.9, 0.7, 0.1], [0.9, 0.1, 0.2]])
    found = skill.of_labels(labels, MULTI, p)
    assert found.recalls[[0, 2]].tolist() == [0.75, 0.5] and math.isnan(found.recalls[1])
    assert found.predicted.tolist() == [0.75, 0.25, 0.25]
    # constant labels say nothing of the skill
    assert found.score == 0.75
    twice = MULTI[:, [2, 2]]
    alone = skill.of_labels(Labels.learn(twice, "y"), twice, p[:, [2, 2]])
    assert (found.skill, found.fit) == (alone.skill, alone.fit)
    constant = skill.of_labels(labels, MULTI[:1], p[:1])
    assert constant.skill == 0 and constant.score == 1 and len(constant.recalls) == 3


def test_a_prediction_that_is_not_finite_is_worse_than_any_other():
    p = np.eye(3)[THREE]
    p[5, 0] = np.nan
    assert skill.of_labels(LABELS, THREE, p).skill == -math.inf
    assert skill.of_numbers(np.array([1.0, 2.0]), np.array([1.0, np.inf])).skill == -math.inf


def test_numbers_have_their_r_squared_in_whatever_unit_each_column_is():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(100, 2)) * [1, 1e6] + [5, 0]
    assert skill.of_numbers(true, true).skill == 1
    mean = skill.of_numbers(true, np.tile(true.mean(axis=0), (100, 1)))
    assert mean.skill == pytest.approx(0) and mean.spread == pytest.approx(0)
    # the small column is as good as lost; averaged over the columns it counts as much
    half = true.copy()
    half[:, 1] = true[:, 1].mean()
    assert skill.of_numbers(true, half).skill == pytest.approx(0.5)
    constant = np.ones((4, 1))
    assert skill.of_numbers(constant, constant + 1).skill == 0


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("mse", np.array([1.0, 2.0, 6.0])),
        ("MeanAbsoluteError", np.array([1.0, 2.0, 6.0])),
        ("binary_crossentropy", np.array([[0.0], [1.0], [1.0]])),
    ],
)
def test_no_constant_has_a_lower_loss_than_the_best_one(loss, y):
    import keras

    function = keras.losses.get({"MeanAbsoluteError": "mae"}.get(loss, loss))
    losses = [
        float(np.mean(function(y.reshape(-1, 1), np.full((3, 1), c, np.float32))))
        for c in np.linspace(0.02, 6, 300)
        if loss != "binary_crossentropy" or c < 1
    ]
    assert skill.constant_loss(loss, y) == pytest.approx(min(losses), rel=1e-3)


def test_classes_have_the_entropy_of_their_shares_in_either_encoding():
    entropy = -sum(p * math.log(p) for p in (1 / 2, 1 / 3, 1 / 6))
    found = skill.constant_loss("sparse_categorical_crossentropy", THREE)
    assert found == pytest.approx(entropy)
    found = skill.constant_loss("categorical_crossentropy", np.eye(3)[THREE])
    assert found == pytest.approx(entropy)
    assert skill.constant_loss("hinge", THREE) is None
    assert skill.constant_loss(lambda y, p: 0, THREE) is None


def test_a_loss_is_known_by_its_name_class_or_object():
    import keras

    function = keras.losses.mean_squared_error
    losses = ("mse", "mean_squared_error", keras.losses.MeanSquaredError(), function)
    assert {skill.kind(loss) for loss in losses} == {"mse"}
    assert skill.compares_numbers(keras.losses.Huber())
    assert not skill.compares_numbers("binary_crossentropy")
