"""Forecasts, pairs and routing pointers to signals, orders at the broker and a ledger that equals the broker's."""
