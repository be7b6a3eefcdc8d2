"""Chaos: the whole platform replays recorded data while a seeded schedule breaks its parts; then a separate checker compares the books."""
