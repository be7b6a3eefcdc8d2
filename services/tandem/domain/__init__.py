"""Records, ids, units and money: what all parts agree on. Imports nothing but the standard library and numpy."""
