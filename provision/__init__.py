"""Provision a production MLflow on Google Cloud, with client libraries only."""

__version__ = "0.1.0"
