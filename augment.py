"""Door for notebooks of Keras_insightface: `import augment` is `facetrainer.data.augment`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
