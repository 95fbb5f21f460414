"""What surrounds a run: its checkpoint, its recipe file, its report."""
