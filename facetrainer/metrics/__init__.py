"""Scores and embeddings → the numbers that people report; numpy and scikit-learn only."""
