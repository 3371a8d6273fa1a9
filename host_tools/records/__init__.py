"""Runs and what came out of them: found, compared, held against thresholds, told to MLflow (docs/runs.md)."""
