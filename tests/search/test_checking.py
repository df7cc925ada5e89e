"""Bad input of a search gives one clear error before the first trial, whatever the data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from bad_searches import Row, bowl, check, near, net, net_cv, tuned
from keras_tuner.oracles import HyperbandOracle, RandomSearchOracle
from light_estimators import Bowl, Nearest, Tiny
from light_searches import X, Y
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search import SearchCallback, SklearnSearch
from trainer import Choice, Float, Int

# what is wrong: (a search and what its fit is given, the error, how it says so)
ARGUMENTS: dict[str, Row] = {
    "a class as estimator": (
        lambda: near(estimator=LogisticRegression),
        TypeError,
        r"estimator=LogisticRegression: .*write LogisticRegression\(\)",
    ),
    "no estimator": (lambda: near(estimator=5), TypeError, r"estimator=5: .*write Classifier\(\)"),
    "an unknown field": (
        lambda: near(space={"shft": [1.0]}),
        ValueError,
        r"space=\{'shft': \.\.\.\}: Nearest has no such parameter; did you mean 'shift'",
    ),
    "an unknown name": (
        lambda: net(space=["learning_rat"]),
        ValueError,
        r"space=\['learning_rat'\].*did you mean 'learning_rate'",
    ),
    "no domains": (
        lambda: (SklearnSearch(Nearest(), executor="serial"), (X, Y)),
        ValueError,
        r"space=None: Nearest has no annotated domains; .*write",
    ),
    "an empty space": (
        lambda: (SklearnSearch(Nearest(), {}), (X, Y)),
        ValueError,
        "space is empty; write at least one domain",
    ),
    "fractions for a whole number": (
        lambda: net(space={"epochs": Float(1, 3)}),
        TypeError,
        r"space=\{'epochs': Float\(.*\)\}: epochs=1\.0: must be a whole number",
    ),
    "numbers below those of a field": (
        lambda: net(space={"epochs": Int(-3, -1)}),
        ValueError,
        r"space=\{'epochs': Int\(.*\)\}: epochs=-3: must be 1 or more",
    ),
    "text for a number": (
        lambda: net(space={"learning_rate": Choice("a", "b")}),
        TypeError,
        r"space=\{'learning_rate': .*: learning_rate='a': must be a number",
    ),
    "one choice that no fit accepts": (
        lambda: net(space=[{"epochs": [1]}, {"validation_split": [0.1, 2]}]),
        ValueError,
        r"space=\{'validation_split': .*: validation_split=2: must be a number from 0",
    ),
    "a choice of a step that no fit accepts": (
        lambda: net(make_pipeline(StandardScaler(), Tiny()), space={"tiny__batch_size": [8, 0]}),
        ValueError,
        r"space=\{'tiny__batch_size': .*: batch_size=0: must be 1 or more",
    ),
    "an empty list": (
        lambda: near(space={"shift": []}),
        ValueError,
        r"space=\{'shift': \[\]\}: .*at least one value",
    ),
    "a lone value": (
        lambda: near(space={"shift": 1.0}),
        TypeError,
        r"space=\{'shift': 1\.0\}: must be .*write Float\(0\.1, 1\.0\)",
    ),
    "low above high": (
        lambda: near(space={"shift": Float(1, 0)}),
        ValueError,
        r"Float\(low=1, high=0\): .*write Float\(0, 1\)",
    ),
    "a logarithm of 0": (
        lambda: near(space={"shift": Float(0, 1, log=True)}),
        ValueError,
        r"Float\(low=0, log=True\): .*above 0",
    ),
    "a step that does not fit": (
        lambda: near(space={"shift": Float(0, 1, step=2)}),
        ValueError,
        r"shift: Float\(.*step=2.*\): the first step already exceeds the end.*step of 1 or less",
    ),
    "a whole step that does not fit": (
        lambda: near(space={"shift": Int(2, 8, step=10)}),
        ValueError,
        r"shift: Int\(.*step=10.*step of 6 or less, or \[2\]",
    ),
    "a condition that never holds": (
        lambda: near(space={"shift": Float(0, 1, when={"kind": "x"}), "kind": Choice("mean", "b")}),
        ValueError,
        r"shift: when=\{'kind': 'x'\} can never hold",
    ),
    "workers=0": (lambda: bowl(workers=0), ValueError, "workers=0: must be 1 or more; write w"),
    "workers as text": (lambda: bowl(workers="all"), TypeError, "workers='all': .*workers=4"),
    "workers of one process": (
        lambda: bowl(workers=3),
        ValueError,
        r"workers=3: executor='serial' .*write executor='processes'",
    ),
    "a limit in this process": (
        lambda: bowl(trial_timeout=5),
        ValueError,
        r"trial_timeout=5: executor='serial'.*executor='processes'",
    ),
    "an unknown executor": (
        lambda: bowl(executor="threads"),
        ValueError,
        "executor='threads': must be one of 'processes', 'serial'",
    ),
    "an unknown tuner": (
        lambda: tuned(tuner="bayes"),
        ValueError,
        "tuner='bayes': must be one of .*did you mean 'bayesian'",
    ),
    "a class as tuner": (
        lambda: tuned(tuner=RandomSearchOracle),
        TypeError,
        "tuner=<class .*RandomSearchOracle'>: must be one of .*Oracle object",
    ),
    "an unknown method": (
        lambda: bowl(method="bayesian"),
        ValueError,
        "method='bayesian': must be one of 'grid', 'random', 'halving'",
    ),
    "max_trials=0": (lambda: tuned(max_trials=0), ValueError, "max_trials=0: must be 1 or more"),
    "n_iter=0": (lambda: bowl(n_iter=0), ValueError, "n_iter=0: must be 1 or more; write n_iter"),
    "half a trial": (lambda: tuned(max_trials=2.5), TypeError, r"max_trials=2\.5: .*whole"),
    "max_seconds below 0": (lambda: bowl(max_seconds=-1), ValueError, "max_seconds=-1: must be"),
    "max_epochs without epochs": (
        lambda: bowl(max_epochs=5),
        ValueError,
        "max_epochs=5: Bowl has no epochs; write max_seconds",
    ),
    "max_epochs below one trial": (
        lambda: net_cv(Tiny(epochs=9), max_epochs=10),
        ValueError,
        "max_epochs=10: a trial takes 18 epochs, 9 in each of 2 fits; write max_epochs=360",
    ),
    "rungs of no Trainer": (
        lambda: bowl(method="halving"),
        ValueError,
        "method='halving': .*Bowl has none; write method='random'",
    ),
    "hyperband of no Trainer": (
        lambda: tuned(tuner="hyperband"),
        ValueError,
        "tuner='hyperband': .*Bowl has none; write tuner='random'",
    ),
    "rungs of one epoch": (
        lambda: net(Tiny(epochs=1), tuner="hyperband"),
        ValueError,
        r"tuner='hyperband': .*Tiny\(epochs=1\).*write Tiny\(epochs=27\)",
    ),
    "rungs and epochs in the space": (
        lambda: net_cv(method="halving", space={"epochs": [2, 3]}),
        ValueError,
        "method='halving': .*leave 'epochs' out of the space",
    ),
    "a point outside the space": (
        lambda: bowl(enqueue=[{"a": 0.5}, {"a": 5.0}]),
        ValueError,
        r"enqueue\[1\]: a=5\.0: must lie in Float\(",
    ),
    "a point without a value": (
        lambda: net(Tiny(learning_rate=9.0), enqueue=[{}]),
        ValueError,
        r"enqueue\[0\]: learning_rate: the point \{\} has no value for it; write one that lies in",
    ),
    "a point of an unknown name": (
        lambda: near(enqueue=[{"shift": 0.5, "knd": 1}]),
        ValueError,
        r"enqueue\[0\]: knd=1: the space has no such parameter",
    ),
    "one point for a list": (
        lambda: bowl(enqueue={"a": 0.5}),
        TypeError,
        r"enqueue=\{'a': 0\.5\}: must be a list of dicts",
    ),
    "a number for points": (lambda: bowl(enqueue=5), TypeError, "enqueue=5: must be a list of d"),
    "points for hyperband": (
        lambda: net(tuner="hyperband", enqueue=[{"learning_rate": 0.01}]),
        ValueError,
        "enqueue=.*tuner='hyperband' .*leave out enqueue",
    ),
    "an objective of no direction": (
        lambda: net(objective="val_acuracy"),
        ValueError,
        r"objective='val_acuracy': .*write objective=\('val_acuracy', 'max'\).*'val_accuracy'\?",
    ),
    "a log of no Trainer": (
        lambda: bowl(objective="val_loss"),
        ValueError,
        "objective='val_loss': is a log of a Trainer.*Bowl has none; write scoring='accuracy'",
    ),
    "no score at all": (
        lambda: near(estimator=StandardScaler(), space={"with_mean": [True]}),
        TypeError,
        "scoring=None: StandardScaler has no method score; write scoring=",
    ),
    "an unknown score": (
        lambda: near(scoring="acuracy"),
        ValueError,
        "scoring='acuracy': .*did you mean 'accuracy'",
    ),
    "an unknown one of several": (
        lambda: near(scoring=["accuracy", "f1_mcro"], refit="accuracy"),
        ValueError,
        r"scoring=\[.*\]: there is no score 'f1_mcro'; did you mean 'f1_micro'",
    ),
    "a number for a score": (lambda: near(scoring=5), TypeError, "scoring=5: must be the name"),
    "several scores without refit": (
        lambda: near(scoring=["accuracy", "f1_macro"]),
        ValueError,
        "refit=True: scoring returns 'accuracy', 'f1_macro'; write refit='accuracy'",
    ),
    "several scores and no refit": (
        lambda: near(scoring=["accuracy", "f1_macro"], refit=False),
        ValueError,
        "refit=False: scoring returns .*write objective='accuracy'",
    ),
    "refit of no score": (
        lambda: near(refit="accuracy"),
        ValueError,
        r"refit='accuracy': names one of several scores; write scoring=\[",
    ),
    "two scores": (
        lambda: net(scoring="accuracy", objective="val_loss"),
        ValueError,
        "objective='val_loss', scoring='accuracy': two scores",
    ),
    "equal executions": (
        lambda: bowl(estimator=Bowl(random_state=3), executions_per_trial=2),
        ValueError,
        "executions_per_trial=2: with random_state=3 .*leave out random_state",
    ),
    "a keras callback": (
        lambda: bowl(callbacks=[keras.callbacks.EarlyStopping()]),
        TypeError,
        r"callbacks=\[<keras.*EarlyStopping.*>\]: is not a search\.SearchCallback; .*Classifier\(",
    ),
    "models without a directory": (
        lambda: bowl(keep_models=3),
        ValueError,
        "keep_models=3: there is no directory to keep them in; write directory=",
    ),
    "models below 0": (lambda: bowl(keep_models=-1), ValueError, "keep_models=-1: must be 0 or"),
    "models as a flag": (lambda: bowl(keep_models=2.5), TypeError, "keep_models=2.5: .*whole"),
    "patience of 0": (
        lambda: bowl(patience_trials=0),
        ValueError,
        "patience_trials=0: must be 1 or more; write patience_trials=20",
    ),
    "a target as text": (lambda: bowl(target_score="0.9"), TypeError, "target_score='0.9': "),
    "a target that is no number": (
        lambda: bowl(target_score=float("nan")),
        ValueError,
        "target_score=nan: must be",
    ),
    "a score of training as text": (
        lambda: bowl(return_train_score="yes"),
        TypeError,
        "return_train_score='yes'",
    ),
    "a number as refit": (
        lambda: bowl(refit=3),
        TypeError,
        "refit=3: must be True, False, the name of a score, or a function",
    ),
    "a start from nowhere": (
        lambda: bowl(warm_start_from="studies/nowhere"),
        ValueError,
        "warm_start_from: directory='studies/nowhere': there is no such folder",
    ),
    "a start from a number": (
        lambda: bowl(warm_start_from=7),
        TypeError,
        "warm_start_from=7: must be the directory of a study, or what load_study",
    ),
    "a factor that does not fit": (
        lambda: near(space={"shift": Float(1, 2, step=3, log=True)}),
        ValueError,
        "shift: Float.*the first step, a factor of 3, already exceeds the end",
    ),
    "a callback's class": (
        lambda: bowl(callbacks=[SearchCallback]),
        TypeError,
        r"callbacks=\[<class .*SearchCallback'>\]: is not a search\.SearchCallback",
    ),
    "a seed below 0": (lambda: bowl(seed=-1), ValueError, "seed=-1: must be 0 or more"),
    "another verbosity": (lambda: bowl(verbose=7), ValueError, "verbose=7: must be one of"),
    "another resume": (lambda: bowl(resume="yes"), ValueError, "resume='yes': must be one of"),
    "an unknown pruner": (
        lambda: net(pruner="asah"),
        ValueError,
        "pruner='asah': must be one of .*did you mean 'asha'",
    ),
    "a pruner as an object": (
        lambda: net(pruner=object()),
        ValueError,
        "pruner=<object.*: must be one of 'asha'",
    ),
    "a pruner with hyperband": (
        lambda: net(Tiny(epochs=9), tuner="hyperband", pruner="asha"),
        ValueError,
        "pruner='asha': tuner='hyperband' has rungs of its own; leave out pruner, or write tuner=",
    ),
    "a pruner with halving": (
        lambda: net_cv(Tiny(epochs=9), method="halving", pruner="median"),
        ValueError,
        "pruner='median': method='halving' has rungs of its own; .*method='random'",
    ),
    "a pruner with an oracle of hyperband": (
        lambda: net(Tiny(epochs=9), tuner=HyperbandOracle(), pruner="asha"),
        ValueError,
        "pruner='asha': tuner='hyperband' has rungs of its own",
    ),
    "a factor without a pruner": (
        lambda: net(factor=2),
        ValueError,
        "factor=2: .*there is no pruner; write pruner='asha' too",
    ),
    "a resource without a pruner": (
        lambda: near(resource="n_samples"),
        ValueError,
        "resource='n_samples': .*there is no pruner",
    ),
    "a factor of 1": (
        lambda: net(Tiny(epochs=9), pruner="asha", factor=1),
        ValueError,
        "factor=1: must be a number above 1; write factor=3",
    ),
    "a factor as text": (
        lambda: net(Tiny(epochs=9), pruner="asha", factor="3"),
        ValueError,
        "factor='3': must be a number above 1",
    ),
    "no min_resources": (
        lambda: net(Tiny(epochs=9), pruner="asha", min_resources=0),
        ValueError,
        "min_resources=0: must be an integer from 1 on; write min_resources=1",
    ),
    "a share of epochs": (
        lambda: net(Tiny(epochs=9), pruner="asha", min_resources=0.5),
        ValueError,
        "min_resources=0.5: must be an integer",
    ),
    "min_resources above all": (
        lambda: net(Tiny(epochs=9), pruner="asha", min_resources=20),
        ValueError,
        "min_resources=20: with 9 epochs and factor=3 there is no rung below the last one; write",
    ),
    "a pruner of a single epoch": (
        lambda: net(Tiny(epochs=1), pruner="patient"),
        ValueError,
        r"pruner='patient': with 1 epochs and factor=3 there is no rung below .*Tiny\(epochs=",
    ),
    "epochs in the space of a pruner": (
        lambda: net(Tiny(), space={"epochs": [1, 9]}, pruner="asha"),
        ValueError,
        "pruner='asha': chooses 'epochs' itself; leave it out of the space",
    ),
    "a pruner without epochs": (
        lambda: near(pruner="asha"),
        ValueError,
        "pruner='asha': Nearest has no epochs .*write resource='n_samples'",
    ),
    "a resource that is no parameter": (
        lambda: near(pruner="asha", resource="n_sample"),
        ValueError,
        "resource='n_sample': Nearest has no such parameter; did you mean 'n_samples'",
    ),
    "a resource that is no integer": (
        lambda: near(pruner="asha", resource="power"),
        ValueError,
        r"resource='power': its value in the Nearest is 2\.0, and must be an integer",
    ),
    "a resource that is no name": (
        lambda: near(pruner="asha", resource=3),
        TypeError,
        "resource=3: must be a name",
    ),
    "rows as the resource of a Trainer": (
        lambda: net(pruner="asha", resource="n_samples"),
        ValueError,
        "resource='n_samples': the resources of a Tiny are 'epochs' and 'steps'",
    ),
    "steps and max_epochs": (
        lambda: net(pruner="asha", resource="steps", max_epochs=9),
        ValueError,
        "max_epochs=9: with resource='steps' .*write max_seconds",
    ),
    "steps of several batch sizes": (
        lambda: net(space={"batch_size": [8, 16]}, pruner="asha", resource="steps"),
        ValueError,
        "resource='steps': .*'batch_size' is in the space; leave it out",
    ),
    "a seed that is too large": (
        lambda: bowl(seed=2**32),
        ValueError,
        "^seed=4294967296: must be from 0 to 4294967295; write seed=0",
    ),
    "cv=1": (lambda: bowl(cv=1), ValueError, "cv=1: must be 2 or more; write cv=5"),
}


@pytest.mark.parametrize(("make", "kind", "says"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_bad_argument_is_told_before_any_fit(
    tmp_path: Path, make: Callable[[], Any], kind: type[Exception], says: str
) -> None:
    Bowl.fits.clear()

    def made() -> Any:
        search, rows = make()
        if "no directory" not in says:
            search.set_params(directory=tmp_path)
        check(search, rows, {}, kind, says)

    if re.match(r"Float\\", says):  # the domain itself says so
        with pytest.raises(kind, match=says):
            made()
    else:
        made()
    assert Bowl.fits == []
    assert not (tmp_path / "study.sqlite").exists()
