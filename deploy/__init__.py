"""A trained model as a file for a phone or a server: folded, written, run again and compared."""
