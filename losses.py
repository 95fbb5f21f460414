"""Door for notebooks of Keras_insightface: `import losses` is `facetrainer.losses`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
