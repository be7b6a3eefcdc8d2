"""Mathematics of pairs: cointegration, GARCH, the GRU, the bundle that carries them, and scores. Pure functions of arrays."""
