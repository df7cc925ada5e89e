"""The plugin that logs a training to an MLflow server or a local MLflow store.

Responsible for what is logged and for resuming the same MLflow run. Not for the files of a run
directory (`trainer.runs`). MLflow is imported when a fit begins; it is the extra "mlflow".
"""

from __future__ import annotations

import re
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from trainer.callbacks.callback import Callback, Session
from trainer.utils.text import printable

MAX_PARAM = 500  # characters of a parameter that every MLflow store accepts
PARAMS_PER_CALL = 100  # MLflow's limit


class MLflow(Callback):
    """Logs the fields as parameters, the metrics of each epoch, and files at the end.

    The files are model.keras, history.csv and curves.png. The MLflow run is created after the
    first dispatch; a training that resumes from a run_dir resumes the same MLflow run, and each
    epoch is logged once. MLflow's active run is left alone. Each epoch costs one request to the
    server. A failed request ends the training.

    Attributes:
        tracking_uri: where to log, such as "http://localhost:5000" or "sqlite:///mlflow.db". None:
            MLflow's own setting, for example the variable MLFLOW_TRACKING_URI.
        experiment: the experiment's name; it is created if it does not exist.
        run_name: None lets MLflow choose one.
    """

    name = "mlflow"

    PATHS = ("tracking_uri",)

    tracking_uri: str | None = None
    experiment: str = "exact-trainer"
    run_name: str | None = None

    def check(self) -> None:
        """Raise an error for a field that is not text."""
        for field, example in (
            ("tracking_uri", "sqlite:///mlflow.db"),
            ("experiment", "digits"),
            ("run_name", "first"),
        ):
            value = getattr(self, field)
            needless = value is None and field != "experiment"
            if not needless and not (isinstance(value, str) and value):
                raise TypeError(f"{field}={value!r}: must be text, such as {field}={example!r}")

    def setup(self, session: Session) -> None:
        """Find or create the experiment.

        Raises:
            ImportError: MLflow is not installed.
            ValueError: the store cannot be reached.
        """
        self._run: str | None = None
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ImportError(
                "callbacks=['mlflow']: MLflow is not installed; "
                "write pip install 'exact-trainer[mlflow]'"
            ) from error
        if not session.is_chief:
            return
        try:
            self._client: Any = MlflowClient(tracking_uri=self.tracking_uri)
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                self._experiment = self._client.create_experiment(self.experiment)
            elif found.lifecycle_stage != "active":
                raise ValueError(
                    f"experiment={self.experiment!r}: is deleted; restore it, or write another name"
                )
            else:
                self._experiment = found.experiment_id
        except Exception as error:
            if isinstance(error, ValueError):
                raise
            raise ValueError(
                f"tracking_uri={self.tracking_uri!r}: MLflow cannot use it "
                f"({type(error).__name__}: {error}); start the server, or write "
                "tracking_uri='sqlite:///mlflow.db' for a local file"
            ) from error

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the run of an earlier fit."""
        self._run = None
        self._logged = 0  # epochs
        self._status = "FAILED"  # until on_train_end

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume the same MLflow run after the last epoch logged in it."""
        found = state["run"]
        if found is not None and not re.fullmatch(r"[\w-]{1,64}", str(found)):
            raise ValueError(f"run: {found!r} is not an MLflow run id")
        self._run = found
        if self._run is None or self.session.given_back or not self.session.is_chief:
            return
        steps = [
            metric.step
            for name in self._client.get_run(self._run).data.metrics
            for metric in self._client.get_metric_history(self._run, name)
        ]
        self._logged = max(steps, default=0)
        self._client.update_run(self._run, status="RUNNING")

    def state_dict(self) -> dict[str, Any]:
        """The id of the MLflow run."""
        return {"run": self._run}

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Create the MLflow run, before the first saved state, which holds its id."""
        if self._run is None and self.session.is_chief:
            self._begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the metrics of the epoch, the first as step 1."""
        from mlflow.entities import Metric

        if epoch + 1 <= self._logged or not self.session.is_chief:
            return
        now = int(time.time() * 1000)
        metrics = [
            Metric(_key(name), float(value), now, epoch + 1) for name, value in (logs or {}).items()
        ]
        self._client.log_batch(self._run, metrics=metrics)
        self._logged = epoch + 1

    def on_train_end(self, logs: Any = None) -> None:
        """Note whether the training finished or was interrupted."""
        session = self.session
        asked = session.interrupts.asked is not None
        ended = self.model.stop_training or asked or len(session.history) >= session.epochs
        self._status = "FINISHED" if ended else "KILLED"

    def teardown(self) -> None:
        """Log the files of a finished training, and end the MLflow run."""
        if self._run is None or self.session.given_back or not self.session.is_chief:
            return
        if self._status == "FINISHED":
            self._log_files()
            self._client.set_terminated(self._run, self._status)
            return
        try:
            self._client.set_terminated(self._run, self._status)
        except Exception as error:  # do not hide the error that ended the training
            warnings.warn(
                f"mlflow: the end of run {self._run} was not logged: {error}", stacklevel=2
            )

    def _begin(self) -> None:
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment, run_name=self.run_name)
        self._run = run.info.run_id
        values = {"class": self.session.owner, "seed": self.session.seed}
        values |= self.session.params
        params = [Param(name, printable(value)[:MAX_PARAM]) for name, value in values.items()]
        for first in range(0, len(params), PARAMS_PER_CALL):
            self._client.log_batch(self._run, params=params[first : first + PARAMS_PER_CALL])

    def _log_files(self) -> None:
        history = self.session.history
        with tempfile.TemporaryDirectory() as folder:
            self.session.save(Path(folder) / "model.keras")
            history.to_csv(Path(folder) / "history.csv")
            figure = history.plot()[0].figure
            figure.savefig(Path(folder) / "curves.png", dpi=120)
            self._client.log_artifacts(self._run, folder)


def _key(name: str) -> str:
    """The name of a metric without characters that MLflow rejects: f1[0] becomes f1.0."""
    return re.sub(r"[^\w. /:-]", "_", name.replace("[", ".").replace("]", ""))
