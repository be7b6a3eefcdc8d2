"""Pure steps: ticks to bars to forecasts to orders to postings. No clock, no file, no environment, no network."""
