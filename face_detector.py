"""Door for notebooks of Keras_insightface: `import face_detector` is `facetrainer.legacy.face_detector`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
