"""MLflow's client signs in to Identity-Aware Proxy by itself."""

__version__ = "0.1.0"
