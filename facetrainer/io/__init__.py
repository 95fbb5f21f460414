"""Bytes ↔ samples: the file formats of the field, read and written with numpy alone."""
