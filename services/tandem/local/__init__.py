"""The whole platform on one machine: real servers and our services as children of one supervisor."""
