"""Door for notebooks of Keras_insightface: `import models` is `facetrainer.models`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
