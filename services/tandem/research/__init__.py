"""Offline work on recorded data: screening a universe, volatility protocols, backtests. Runs the same code as training and serving."""
