"""Prometheus rules as code: service levels with burn rates, and alerts on causes. Called by cli/generate.py."""
