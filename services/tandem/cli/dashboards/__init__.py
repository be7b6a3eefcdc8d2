"""Grafana's dashboards as code: what they show (one module each), and how Grafana takes it (build.py). Called by cli/generate.py."""
