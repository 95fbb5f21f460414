"""Photo → aligned crop → gallery; and faces that are drawn, for runs without any photo."""
