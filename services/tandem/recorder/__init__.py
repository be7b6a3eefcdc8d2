"""The service that keeps history: ticks as bars and forecasts as scores, in Postgres."""
