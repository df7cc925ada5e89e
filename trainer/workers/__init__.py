"""The workers of one training: where they are, and the processes that they run in.

`clusters` finds out who the workers are, `processes` runs those of one machine, and `on_ray` has
Ray do so on the machines of a cluster. `trainer.launching` is what people call.
"""
