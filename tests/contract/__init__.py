"""Contract cards: what a client may rely on, asked of any server that speaks Alpaca's trading API."""
