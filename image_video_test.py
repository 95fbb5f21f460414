"""Door for notebooks of Keras_insightface: `import image_video_test` is `facetrainer.legacy.image_video_test`."""

from facetrainer import flat_names

flat_names.open_door(__name__)
