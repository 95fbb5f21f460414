"""Any source of faces → batches."""

from facetrainer.utils import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "facetrainer.data.pipeline": "Faces ReadyFaces normalise open_faces strategy",
        "facetrainer.data.sampling": "Balanced PeopleByImages Shuffled",
        "facetrainer.data.images": "decode normalised",
        "facetrainer.data.sources": "Source open_source",
    },
    globals(),
)
