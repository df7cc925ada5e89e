"""The state of a training: what there is, and how it is written."""
