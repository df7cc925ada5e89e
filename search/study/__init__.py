"""A study: its trials, what is stored of them, and their evaluation."""
