"""One file for each library at the edge. Its errors become Transient or Permanent here."""
