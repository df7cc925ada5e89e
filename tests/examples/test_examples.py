"""Each example runs, names what it wrote, and shows what it says that it shows.

The bounds are scores that an untrained model misses: of ten classes it hits one in ten, and its R2
is below 0.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from trainer import datasets

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def number(text: str) -> float:
    """The number that a text starts with."""
    return float(text.split()[0].rstrip(",:%"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_enough_to_be_read_at_once(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < (
        140 if path.stem == "classification" else 100
    )


def test_the_quickstart_trains_a_classifier_that_plain_keras_can_use(run):
    done = run("quickstart", cold=True)
    assert number(done.line("held-out accuracy ")) >= 0.96
    assert "360 predictions are equal" in done.text
    assert set(done.files) == {
        "model.keras",
        "history.csv",
        "learning_curves.png",
        "confusion_matrix.png",
        "images.png",
    }
    test = datasets.load("digits", seed=42).test
    found = keras.models.load_model(done.files["model.keras"]).predict(test.x, verbose=0)
    assert np.mean(found.argmax(axis=1) == test.y) >= 0.96


def test_a_training_on_two_workers_has_one_model_and_one_history(run):
    done = run("distributed_training", "--epochs", "3")
    scores = [done.line(f"[worker {i}] held-out accuracy ") for i in (0, 1)]
    assert scores[0] == scores[1] and number(scores[0]) > 0.8
    assert set(done.files) == {"model.keras", "history.csv"}
    assert len(pd.read_csv(done.files["history.csv"])) == 3


def test_the_quickstart_takes_a_table_whose_classes_do_not_count_from_0(run, tmp_path):
    frame = load_wine(as_frame=True).frame
    frame["target"] = 10 * frame["target"] - 5  # -5, 5 and 15
    frame.to_csv(tmp_path / "wine.csv", index=False)
    done = run("quickstart", "--data", "wine.csv", "--target", "target")
    assert number(done.line("held-out accuracy ")) > 0.9
    assert "images.png" not in done.files


def test_the_quickstart_takes_numbers_to_predict(run):
    done = run("quickstart", "--data", "diabetes")
    assert number(done.line("held-out R2 ")) > 0.3
    assert "residuals.png" in done.files


def test_the_lesson_fails_on_raw_pixels_and_succeeds_on_normalised_ones(run):
    done = run("classification", "--epochs", "15")
    assert number(done.line("raw pixels: held-out accuracy ")) < 0.3
    assert number(done.line("normalised: held-out accuracy ")) > 0.9
    assert "% of the test images get exactly the same probabilities" in done.text
    assert "That is guessing" in done.text
    assert "inputs are not scaled" in done.text
    raw, normalised = number(done.line("raw pixels: loss ")), number(done.line("normalised: loss "))
    assert raw > 1_000 * normalised
    for library in ("tensorflow", "keras", "numpy", "scikit-learn", "matplotlib"):
        assert done.line(f"{library} ")[0].isdigit()
    assert "weights: 50,610 as a list, 50,610 by adding" in done.text
    assert done.line("test: images ").startswith("(360, 8, 8) uint8 from 0 to 255")


def test_wrong_targets_hurt_the_squared_loss_more_than_the_absolute(run):
    done = run("regression")
    table = pd.read_csv(done.files["scores.csv"]).set_index(["trained on", "loss"])
    assert (table.loc["correct targets", "R2"] > 0.3).all()
    slipped = table.loc["slipped points", "MAE"]
    assert slipped["squared"] > 1.2 * slipped["absolute"]
    assert slipped["squared"] > 1.2 * table.loc["correct targets", "MAE"]["squared"]


def test_twenty_layers_train_with_normalised_layers_only(run):
    done = run("deep_network", "--epochs", "20")
    table = pd.read_csv(done.files["results.csv"], index_col="network")
    plain = table.loc["sigmoid"]
    helped = table.drop(index="sigmoid")
    assert plain["accuracy"] < 0.3
    assert plain["gradient ratio"] < 1e-6
    assert (helped["accuracy"] > 0.9).all()
    assert (helped["gradient ratio"] > 0.1).all()


def test_a_training_that_was_killed_goes_on_to_the_bit(run):
    done = run("callbacks", "--epochs", "12")
    assert done.line("the second process ended with ") == "-9"
    assert "resumes from epoch" in done.text
    assert done.line("equal weights: ") == done.line("equal histories: ") == "True"
    assert number(done.line("held-out accuracy ")) > 0.8


def test_a_plugin_of_ones_own_keeps_what_it_saw(run):
    done = run("custom_callback", "--epochs", "4")
    assert pd.read_csv(done.files["worst_class.csv"])["epoch"].tolist() == [1, 3]


def test_both_ways_of_writing_a_wide_and_deep_network_give_the_same_predictions(run):
    done = run("wide_and_deep")
    assert number(done.line("the predictions of the two ways differ by at most ")) < 1e-5
    for name in ("Functional", "Subclassed", 'model="wide_and_deep"'):
        assert number(done.line(f"{name}: held-out R2 ")) > 0.2


def test_files_read_by_a_pipeline_train_as_well_as_arrays(run):
    done = run("tf_data", "--epochs", "10")
    files = number(done.line("from files: held-out accuracy "))
    assert files > 0.93
    assert abs(files - number(done.line("from arrays: held-out accuracy "))) < 0.03
    shards = [pd.read_csv(p, header=None) for n, p in done.files.items() if n.startswith("train")]
    assert len(shards) == 4
    assert pd.concat(shards).shape == (1077, 65)


def test_forecast_is_better_than_the_value_one_season_before(run):
    done = run("forecast", "--epochs", "3")
    maes = [float(value) for value in re.findall(r"MAE ([\d.]+)", done.text)]
    assert len(maes) == 2 and maes[0] < maes[1]
    assert "the difference from column 0" in done.text


@pytest.mark.parametrize("name", ["regression", "wide_and_deep"])
def test_a_real_table_with_missing_values_and_text_is_taken_as_it_is(run, housing, name):
    options = ("--data", housing, "--target", "median_house_value", "--epochs", "3")
    # The few wrong targets make up most of the squared loss, so its training is warned about.
    done = run(name, *options, expected="went nowhere" if name == "regression" else None)
    if name == "regression":
        table = pd.read_csv(done.files["scores.csv"]).set_index(["trained on", "loss"])
        assert (table.loc["correct targets", "R2"] > 0.65).all()
        assert table.loc[("slipped points", "absolute"), "R2"] > 0.65
    else:
        assert number(done.line("Functional: held-out R2 ")) > 0.5


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("classification", "iris", "has no images"),
        ("regression", "digits", "has classes"),
        ("tf_data", "diabetes", "needs integer classes"),
    ],
)
def test_data_of_another_kind_are_refused_in_one_line(start, name, data, said):
    done = start(name, "--data", data)
    assert done.returncode != 0
    assert f"--data {data}: " in done.stderr.splitlines()[-1]
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_unknown_data_set_is_answered_with_near_names(start):
    done = start("quickstart", "--data", "digit")
    assert done.returncode != 0
    assert "did you mean 'digits'?" in done.stderr


def test_text_in_two_languages_and_in_a_table_is_classified(start):
    done = start("text_classification")
    assert done.returncode == 0, done.stderr
    scores = [float(found) for found in re.findall(r"accuracy (\d\.\d+)", done.stdout)]
    assert len(scores) == 3
    assert min(scores) > 0.9
    assert "cut into words" in done.stdout
    assert "cut into characters" in done.stdout


def test_a_base_helps_where_there_are_few_images_and_adapters_take_little_room(run):
    done = run("fine_tuning")
    scores = {
        name: number(done.line(f"{name}: accuracy "))
        for name in ("from scratch", "unfrozen", "LoRA")
    }
    assert scores["unfrozen"] > scores["from scratch"] > 0.8
    assert scores["LoRA"] > 0.8
    assert float(re.search(r"trains ([\d.]+)%", done.line("LoRA: "))[1]) < 5
    sizes = [
        file.stat().st_size for file in (done.files["adapters.keras"], done.files["base.keras"])
    ]
    assert sizes[0] < 0.05 * sizes[1]


def test_a_task_of_ones_own_learns_the_order_of_labels_in_under_40_lines(start):
    done = start("custom_task")
    assert done.returncode == 0, done.stderr
    ours, middle = re.findall(r"\d\.\d\d", done.stdout)
    assert float(ours) < 0.9 * float(middle)
    source = (EXAMPLES / "custom_task.py").read_text(encoding="utf-8")
    task = source[source.index("class Steps") : source.index("if __name__")]
    assert len(task.strip().splitlines()) < 40
    assert not re.search(r"(self|data|learned)\._\w|import _", task), "private names"
