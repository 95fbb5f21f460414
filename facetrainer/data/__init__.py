"""Any source of faces → batches."""

from facetrainer.utils import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "facetrainer.data.pipeline": "Faces open_faces",
        "facetrainer.data.ready": "ReadyFaces normalise",
        "facetrainer.data.sampling": "Balanced PeopleByImages Shuffled",
        "facetrainer.data.images": "decode normalised",
        "facetrainer.data.sources": "Source open_source",
    },
    globals(),
)
