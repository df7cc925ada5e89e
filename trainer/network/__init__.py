"""The network of a fit: built, compiled, and checked against the data."""
