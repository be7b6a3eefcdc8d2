"""Stands in for Alpaca over recorded data: market-data stream, trade updates, trading and data REST, and the replay's own control."""
