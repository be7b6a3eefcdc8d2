"""Checks a finished run from the outside: what Kafka, the ledger and the exchange hold must agree. Shares no code with the portfolio."""
