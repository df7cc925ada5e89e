"""Searches that other libraries run, over a Trainer."""
