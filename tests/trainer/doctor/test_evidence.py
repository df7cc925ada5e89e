"""What a fit keeps of its data is bounded, quick to take, and finds equal rows exactly."""

import numpy as np
import pytest

from trainer import Classifier
from trainer.data.preparation import Rows
from trainer.data.targets import Classes
from trainer.doctor import evidence
from trainer.engine.feeds import RowsFeed


def kept_of(x, y, valid=None):
    trained = Classifier(model="mlp", epochs=1, batch_size=512, random_state=0)
    return trained.fit(x, y, validation_data=valid)._network.evidence


def test_evidence_is_bounded_in_rows_and_bytes():
    generator = np.random.default_rng(0)
    many = kept_of(generator.normal(size=(6_000, 4)).astype("float32"), np.arange(6_000) % 3)
    assert len(many.train.x) <= evidence.MAX_ROWS and many.train.rows == 6_000
    assert many.counts[""].tolist() == [2_000, 2_000, 2_000]
    wide = kept_of(np.zeros((200, 64, 64, 3), "float32"), np.arange(200) % 2)
    assert wide.train.x.nbytes <= evidence.MAX_BYTES
    assert len(wide.train.x) == len(wide.train.y) < 200


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("shape", [(5,), (30,), (9, 7), (6, 5, 3)])
def test_rows_are_found_again_as_often_as_they_are_there(shape, dtype):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 256, (700, *shape)).astype(dtype)
    fresh = generator.integers(0, 256, (20, *shape)).astype(dtype)
    rows[100:110] = rows[:10]
    needles = np.concatenate([rows[:20], fresh])
    expected = [2] * 10 + [1] * 10 + [0] * 20
    assert evidence.occurrences([needles], [rows]).tolist() == expected
    turned = np.asfortranarray(rows)
    assert evidence.occurrences([needles], [turned]).tolist() == expected


def test_rows_that_agree_in_the_window_alone_are_not_found():
    rows = np.zeros((50, 400), "float32")
    rows[:, 60:80] = np.arange(50)[:, None]
    almost = rows.copy()
    almost[:, 399] = 1.0
    assert not evidence.occurrences([almost], [rows]).any()


def test_rows_of_several_inputs_are_equal_only_if_every_part_is():
    generator = np.random.default_rng(0)
    wide, deep = generator.normal(size=(60, 3)), generator.normal(size=(60, 9))
    found = evidence.occurrences([wide[::-1], deep], [wide, deep])
    assert found.sum() == 0
    assert evidence.occurrences([wide, deep], [wide, deep]).tolist() == [1] * 60


def test_all_rows_of_a_large_data_set_are_searched_for_a_sample_of_the_validation_rows():
    generator = np.random.default_rng(0)
    x, y = generator.random((55_000, 784), "float32"), np.arange(55_000, dtype="int32") % 10
    feed = RowsFeed((x, y), batch_size=32, float_dtype="float32")
    valid = RowsFeed((x[:5_000], y[:5_000]), batch_size=32, float_dtype="float32")
    targets = Classes.learn(y, "y", one_hot=False)
    kept = evidence.collect(Rows(x, y, None), feed, valid, targets)
    assert kept.overlap.searched == 55_000
    assert kept.overlap.found == kept.overlap.checked > 300
