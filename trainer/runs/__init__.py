"""A run on disk: its folder, its states, its lock."""
