"""Reading, checking and encoding the inputs and targets of an estimator."""
