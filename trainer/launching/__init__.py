"""`trainer.launch`: one training on several workers, on this machine or on those of a cluster.

`job` is what people call. `clusters` finds out who the workers are, `processes` runs those of one
machine, and `on_ray` has Ray do so on the nodes of its cluster.
"""

from trainer.launching.job import LaunchError, launch

__all__ = ["LaunchError", "launch"]
