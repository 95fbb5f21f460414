"""Recipes for `python train.py`."""
