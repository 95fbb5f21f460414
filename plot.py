"""Door for notebooks of Keras_insightface: `import plot` is `facetrainer.reporting.plots`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
