"""A small HTTP service for a fitted Trainer."""

from trainer.serving.server import Service, serve

__all__ = ["Service", "serve"]
