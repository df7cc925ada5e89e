"""The perceptron in PyTorch: a plain loop over data in memory, and Lightning's Trainer.

Both do what Keras does per step, including accuracy and mean loss over the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.data import Data
from benchmarks.rounds import Rounds

BATCH = 32
RATE = 0.01


def _network() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def loop(rounds: Rounds, data: Callable[[bool], Data]) -> None:
    """Time the loop of every PyTorch tutorial, without its DataLoader, which is slower."""
    import torch

    torch.manual_seed(0)
    x, y = (torch.from_numpy(array) for array in data(rounds.quick))
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def epoch() -> None:
        total = torch.zeros(())
        correct = torch.zeros((), dtype=torch.int64)
        for rows in torch.randperm(len(x)).split(BATCH):
            outputs = model(x[rows])
            loss = torch.nn.functional.cross_entropy(outputs, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                total += loss * len(rows)
                correct += (outputs.argmax(1) == y[rows]).sum()

    rounds.time(epoch)


def lightning(rounds: Rounds, data: Callable[[bool], Data]) -> None:
    """Time Lightning's Trainer with a DataLoader, without logger, bar and checkpoints."""
    import warnings

    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    class Perceptron(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = _network()

        def on_train_epoch_start(self) -> None:
            rounds.wait()
            self.started = time.perf_counter()

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            outputs = self.network(x)
            loss = torch.nn.functional.cross_entropy(outputs, y)
            accuracy = (outputs.argmax(1) == y).float().mean()
            # the means over the epoch, which Keras and the loop above compute too
            self.log_dict({"loss": loss, "accuracy": accuracy}, on_step=False, on_epoch=True)
            return loss

        def on_train_epoch_end(self) -> None:
            rounds.tell(time.perf_counter() - self.started)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), RATE)

    torch.manual_seed(0)
    # ignore its advice to use more DataLoader workers: rows in memory are slower with them
    warnings.filterwarnings("ignore", category=UserWarning)
    rows = TensorDataset(*(torch.from_numpy(array) for array in data(rounds.quick)))
    lightning.Trainer(
        max_epochs=rounds.count,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    ).fit(Perceptron(), DataLoader(rows, batch_size=BATCH, shuffle=True))
