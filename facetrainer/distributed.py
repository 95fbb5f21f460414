"""Devices: which there are, and what is where."""

import contextlib

import keras


class OneReplica:
    """What stands in the place of a `tf.distribute.Strategy` where Keras does not run on TensorFlow."""

    num_replicas_in_sync = 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Changes nothing."""
        return contextlib.nullcontext()


def strategy():
    """The `tf.distribute.Strategy` in whose scope this is called, the default one outside; off TensorFlow `OneReplica`."""
    if keras.backend.backend() != "tensorflow":
        return OneReplica()
    import tensorflow as tf

    return tf.distribute.get_strategy()
