"""Door for notebooks of Keras_insightface: `import backbones` is `facetrainer.backbones`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
