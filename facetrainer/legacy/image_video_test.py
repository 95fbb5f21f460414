"""`import image_video_test`."""

from facetrainer.legacy.refused import refused

FaceDetectorAndRecognizer = refused(
    "image_video_test.FaceDetectorAndRecognizer",
    "Use parts: recognition.detect.detector finds faces, data.alignment.crop aligns them, evaluation.Embedder gives their embeddings.",
)
