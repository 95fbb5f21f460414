"""Door for notebooks of Keras_insightface: `import optimizers` is `facetrainer.optimizers`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
