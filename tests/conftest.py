"""What every test needs: an environment that is set before any library is imported."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"
# scikit-learn's array-API check skips unless SciPy was imported with this switched on
os.environ["SCIPY_ARRAY_API"] = "1"
