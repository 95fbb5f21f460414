"""Door for notebooks of Keras_insightface: `import data` is `facetrainer.data`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
