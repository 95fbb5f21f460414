"""Photo → aligned crop → who: detectors, quality, two photos, galleries, albums, videos.

`verify(a, b)` compares two photos, `Gallery` knows people; both take a model file or the newest one of `checkpoints/`.
"""

from facetrainer.utils.lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "facetrainer.recognition.detect": "Detected Detector detector",
        "facetrainer.recognition.gallery": "Gallery Match Threshold",
        "facetrainer.recognition.model": "RecognitionModel choose",
        "facetrainer.recognition.quality": "Quality",
        "facetrainer.recognition.reader": "Face FaceReader Photo",
        "facetrainer.recognition.stores": "open_store",
        "facetrainer.recognition.stores.local": "LocalStore",
        "facetrainer.recognition.verification": "Verdict verify",
    },
    globals(),
)
