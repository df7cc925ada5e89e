"""General helpers, independent of training."""
