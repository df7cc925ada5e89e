"""A custom task: ordinal regression, for labels with an order (Frank and Hall, 2001).

    python examples/custom_task.py

For each label but the first, the network learns whether the truth is at least that label; the
prediction is how many of these it believes. Being off by one label is then a smaller error than by
three.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split

from trainer import Task, Trainer


class Steps:
    """The labels 0, 1, ..., k as k answers to "at least this label?"."""

    task = "ordinal"

    def __init__(self, n_outputs):
        self.n_outputs = n_outputs

    def encode(self, y, name):
        return (np.asarray(y)[:, None] > np.arange(self.n_outputs)).astype(np.float32)

    def decode(self, outputs):
        return (outputs > 0).sum(axis=-1)

    def to_dict(self):
        return {"n_outputs": self.n_outputs}


class Ordinal(Task):
    needs_y = True

    def learn(self, data):
        return Steps(int(np.max(data.y)))

    def restore(self, form):
        return Steps(form["n_outputs"])

    def default_loss(self, model, spec, learned, probe):
        from keras.losses import BinaryCrossentropy

        return BinaryCrossentropy(from_logits=True)


class OrdinalTrainer(Trainer):
    def configure_task(self):
        return Ordinal("ordinal")


if __name__ == "__main__":
    x, progression = load_diabetes(return_X_y=True)
    y = np.digitize(progression, np.quantile(progression, [0.2, 0.4, 0.6, 0.8]))  # 0 to 4
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    trainer = OrdinalTrainer(epochs=30, normalize="standard", random_state=0).fit(x, y)
    error = mean_absolute_error(y_test, trainer.predict(x_test))
    middle = mean_absolute_error(y_test, np.full(len(y_test), 2))
    print(f"mean error {error:.2f} labels; always saying the middle one: {middle:.2f}")
