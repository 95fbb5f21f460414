"""Weights of other frameworks → Keras: what their files mean, by the names their programs give."""
