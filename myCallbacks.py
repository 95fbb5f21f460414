"""Door for notebooks of Keras_insightface: `import myCallbacks` is `facetrainer.training.callbacks`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
