"""Tandem: GARCH-GRU models served to live pairs trading."""
