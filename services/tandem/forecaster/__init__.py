"""The forecaster: one BentoML service for each sector and pinned model version."""
