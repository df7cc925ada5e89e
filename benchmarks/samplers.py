"""`python -m benchmarks.samplers`: how near the samplers come to the optimum, beside Optuna itself.

    python -m benchmarks.samplers               # 20 seeds; writes benchmarks/results/samplers.md
    python -m benchmarks.samplers --seeds 3     # a quick look; prints the table

Each tuner runs on each function of `functions` with a known optimum and on each data set of
`networks`, with each seed; so does Optuna with its own default sampler. The measure is simple
regret after 25, 50 and 100 trials: the least value so far, less the optimum (for networks: the
least value of all searches). The test: over the seeds, a one-sided Wilcoxon signed-rank test of
whether our regret is greater than Optuna's, at 5 % after Holm's correction over the problems.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.functions import Problem
    from search.proposers import Proposer

RESULTS = Path(__file__).parent / "results" / "samplers.md"
BUDGETS = (25, 50, 100)
TUNERS = ("random", "bayesian", "tpe", "cma-es", "qmc", "nsga2")
LIMITS = {"bayesian": 25}  # its asks take long
THEIRS = "Optuna's default"


def search(task: tuple[str, str, int]) -> list[float]:
    """Run one search; return the least value so far after each trial."""
    from benchmarks.functions import EPOCHS

    name, tuner, seed = task
    problem = problems()[name]
    run = _optuna if tuner == THEIRS else _ours(tuner)
    values = run(problem, seed, lambda point: problem.score(point, EPOCHS))
    return list(np.minimum.accumulate(values))


def problems() -> dict[str, Problem]:
    """Return the problems by name."""
    from benchmarks import networks
    from benchmarks.functions import PROBLEMS

    known = {name: problem for name, problem in PROBLEMS.items() if problem.optimum is not None}
    return known | networks.problems()


def _ours(tuner: str) -> Callable[..., list[float]]:
    def run(problem: Problem, seed: int, score: Callable[[Any], float]) -> list[float]:
        from search.proposers import Outcome, sklearn
        from search.proposers.cma import CmaEs
        from search.proposers.keras_tuner import KerasTuner
        from search.proposers.optuna import OptunaSampler

        space, n = problem.space, LIMITS.get(tuner, BUDGETS[-1])
        proposer: Proposer
        if tuner == "random":
            proposer = sklearn.random(space, n, seed)
        elif tuner == "bayesian":
            proposer = KerasTuner(space, tuner, max_trials=n, maximize=False, seed=seed)
        elif tuner == "cma-es":
            proposer = CmaEs(space, max_trials=n, maximize=False, seed=seed)
        else:
            proposer = OptunaSampler(space, tuner, max_trials=n, maximize=[False], seed=seed)
        values = []
        for _ in range(n):
            asked = proposer.ask()
            values.append(score(asked.point))
            proposer.tell(asked.key, Outcome(values[-1]))
        return values

    return run


def _optuna(problem: Problem, seed: int, score: Callable[[Any], float]) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        from trainer import Float, Int

        point: dict[str, Any] = {}
        for name, domain in problem.space.domains.items():
            if not problem.space.is_active(name, point):
                continue
            if isinstance(domain, Float):
                point[name] = trial.suggest_float(name, domain.low, domain.high, log=domain.log)
            elif isinstance(domain, Int):
                point[name] = trial.suggest_int(name, domain.low, domain.high, log=domain.log)
            else:
                values = getattr(domain, "values", (False, True))
                point[name] = trial.suggest_categorical(name, list(values))
        return score(point)

    study = optuna.create_study()
    # the sampler that create_study takes, with a seed
    study.sampler = type(study.sampler)(seed=seed)
    study.optimize(objective, n_trials=BUDGETS[-1])
    return [float(trial.value) for trial in study.trials]


def table(found: dict[tuple[str, str, int], list[float]], seeds: int) -> list[str]:
    """Return the lines of a Markdown table of median regrets, and of the test."""
    from scipy.stats import wilcoxon

    from benchmarks.search_quality import ALPHA, holm

    every = problems()
    names = list(dict.fromkeys(name for name, _, _ in found))
    least = {
        name: min(values[-1] for key, values in found.items() if key[0] == name) for name in names
    }
    optima = {name: every[name].optimum for name in names}
    best = {name: least[name] if optimum is None else optimum for name, optimum in optima.items()}
    lines = ["| trials | tuner | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for trials in BUDGETS:
        at = {key: values[trials - 1] for key, values in found.items() if len(values) >= trials}
        for tuner in (*TUNERS, THEIRS):
            if trials > LIMITS.get(tuner, trials):
                continue
            regrets, chances = [], []
            for name in names:
                ours = [at[name, tuner, seed] for seed in range(seeds)]
                theirs = [at[name, THEIRS, seed] for seed in range(seeds)]
                regrets.append(median(ours) - best[name])
                same = ours == theirs
                chances.append(
                    1.0 if same else wilcoxon(ours, theirs, alternative="greater").pvalue
                )
            worse = [p < ALPHA for p in holm(chances)]
            cells = [f"{r:.3g}{' *' if w else ''}" for r, w in zip(regrets, worse, strict=True)]
            lines.append(f"| {trials} | {tuner} | " + " | ".join(cells) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the searches and print the table; with 20 seeds also write it."""
    from benchmarks import machine, networks

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="searches at once")
    options = parser.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    tasks = [
        (name, tuner, seed)
        for name in problems()
        for tuner in (*TUNERS, THEIRS)
        for seed in range(options.seeds)
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        found = dict(zip(tasks, pool.map(search, tasks), strict=True))
    lines = table(found, options.seeds)
    print("\n".join(lines))
    if options.seeds == 20:
        about = ", ".join(f"{k} {v}" for k, v in machine.describe().items())
        head = [
            "# Samplers",
            "",
            "Median simple regret over 20 seeds, of `python -m benchmarks.samplers`; less is "
            "better. A star: worse than Optuna with its own default sampler (one-sided Wilcoxon "
            "signed-rank test at 5 %, Holm's correction over the problems).",
            "",
            f"{about}.",
            "",
            "The networks' scores are those of a forest that has learnt them from "
            "benchmarks/results/networks.csv; Spearman's correlation with networks that it has not "
            "seen: "
            + ", ".join(f"{name} {networks.ranked(name):.2f}" for name in networks.recorded())
            + ".",
            "",
        ]
        RESULTS.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
