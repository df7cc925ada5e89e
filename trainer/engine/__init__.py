"""The engine: one training loop (`loop`) over compiled functions (`program`).

Nothing here knows of labels, tables or estimators: it is given a compiled Keras model and batches.
"""
