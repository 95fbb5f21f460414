"""Getting faces in: what `prepare_data.py` does, one task a file."""
