"""TensorFlow's part of the engine: the only place where steps are compiled."""
