"""`import image_video_test`, `python image_video_test.py`: who is on images and videos, over `facetrainer.recognition`."""

import argparse
import os

import numpy as np

from facetrainer.recognition.gallery import Gallery
from facetrainer.recognition.model import RecognitionModel
from facetrainer.recognition.reader import FaceReader
from facetrainer.recognition.video import watch
from facetrainer.reporting import faces


class FaceDetectorAndRecognizer:
    """Finds faces and tells who they are.

    Args:
        recognize_model: Model file; Keras_insightface's `"EfficientNetV2B0"` was a download, there is none.
        known_users: Folder with one folder a person. Defaults to none.
        batch_size: Crops at a time. Defaults to `32`.
        force_reload: Reads `known_users` anew; else `{known_users}_gallery` is gone on with. Defaults to `False`.
        detector: See `recognition.detector`. Defaults to `"mtcnn"`.

    Raises:
        ValueError: The model is no file.
    """

    def __init__(
        self, recognize_model="EfficientNetV2B0", known_users=None, batch_size=32, force_reload=False, detector="mtcnn"
    ):
        if isinstance(recognize_model, str) and not os.path.exists(recognize_model):
            raise ValueError(f"recognize_model: {recognize_model!r} is no model file, and nothing is downloaded.")
        self.reader = FaceReader(RecognitionModel(recognize_model, batch_size), detector)
        place = os.path.normpath(known_users) + "_gallery" if known_users else None
        self.gallery = Gallery(self.reader, place)
        if known_users:
            for person in self.gallery.people() if force_reload else ():
                self.gallery.remove(person)
            self.gallery.enrol(known_users)

    def compare_images(self, image_a, image_b):
        """Compares all faces of two images.

        Args:
            image_a: Path, encoded bytes or RGB uint8 array.
            image_b: The same.

        Returns:
            Cosines `(faces of a, faces of b)`, the largest faces first.
        """
        first, second = (
            np.array([face.embedding for face in self._photo(one).faces], np.float32) for one in (image_a, image_b)
        )
        return first @ second.T if len(first) and len(second) else np.zeros((len(first), len(second)), np.float32)

    def search_in_known_users(self, image):
        """Looks for everybody on an image among the known users.

        Args:
            image: Path, encoded bytes or RGB uint8 array.

        Returns:
            Names of the nearest `(n,)`, cosines `(n,)`, boxes x1 y1 x2 y2 `(n, 4)`.

        Raises:
            ValueError: There are no known users, or the image cannot be read.
        """
        if not len(self.gallery):
            raise ValueError("there are no known users: give known_users=, a folder with one folder a person.")
        found = self.gallery.matches(self._photo(image).faces, 1)
        names, cosines = zip(*[one.nearest[0] for one in found], strict=True) if found else ((), ())
        return list(names), np.array(cosines, np.float32), np.array([one.face.box for one in found]).reshape(-1, 4)

    def video_recognize(self, image_sources=0, frames_per_detect=5, similarity_thresh=0.6, output="recognized.mp4"):
        """Follows faces in a video; there is no window.

        Args:
            image_sources: File, address, or number of a camera. Defaults to `0`.
            frames_per_detect: Faces are looked for in each so-manieth frame. Defaults to `5`.
            similarity_thresh: Least cosine to name somebody. Defaults to `0.6`.
            output: Video with boxes and names. Defaults to `"recognized.mp4"`.

        Returns:
            The tracks, see `recognition.tracking.Track`.
        """
        self.gallery.given = similarity_thresh
        return watch(self.gallery, str(image_sources), faces.tracked, output, frames_per_detect)[0]

    @staticmethod
    def draw_polyboxes_on_image(image, names, cosines, boxes, similarity_thresh=0.6):
        """A copy of an RGB image with boxes and names; "Unknown" below `similarity_thresh`."""
        known = [cosine >= similarity_thresh for cosine in cosines]
        told = [
            f"{name if sure else 'Unknown'} {cosine:.2f}"
            for name, cosine, sure in zip(names, cosines, known, strict=True)
        ]
        return faces.drawn(np.asarray(image), boxes, told, known)

    def _photo(self, image):
        photo = self.reader.one(image)
        if photo.error:
            raise ValueError(f"{photo.name}: {photo.error}")
        return photo


def main(argv=None):
    """Keras_insightface's command; a video is written to `recognized.mp4`, images as `{name}_recognized.jpg`."""
    parser = argparse.ArgumentParser("image_video_test.py", description=__doc__)
    parser.add_argument("-m", "--recognize_model", default="EfficientNetV2B0")
    parser.add_argument("-k", "--known_users")
    parser.add_argument("-f", "--force_reload", action="store_true")
    parser.add_argument("-b", "--embedding_batch_size", type=int, default=4)
    parser.add_argument("-v", "--video_source", default="0")
    parser.add_argument("-i", "--images", nargs="+")
    parser.add_argument("-t", "--similarity_thresh", type=float, default=0.6)
    parser.add_argument("-p", "--frames_per_detect", type=int, default=5)
    parser.add_argument("-d", "--detector", default="mtcnn")
    from facetrainer.cli import run

    return run.call(parser, _run, argv)


def _run(a):
    from facetrainer.data.images import decode, encode
    from facetrainer.utils.files import read_bytes

    whole = FaceDetectorAndRecognizer(
        a.recognize_model, a.known_users, a.embedding_batch_size, a.force_reload, a.detector
    )
    if not a.images:
        whole.video_recognize(a.video_source, a.frames_per_detect, a.similarity_thresh)
        return
    if not a.known_users and len(a.images) == 2:
        print(whole.compare_images(*a.images))
        return
    for path in a.images:
        names, cosines, boxes = whole.search_in_known_users(path)
        picture = whole.draw_polyboxes_on_image(decode(read_bytes(path)), names, cosines, boxes, a.similarity_thresh)
        output = os.path.splitext(path)[0] + "_recognized.jpg"
        with open(output, "wb") as file:
            file.write(encode(picture))
        said = [
            name if cosine >= a.similarity_thresh else "Unknown" for name, cosine in zip(names, cosines, strict=True)
        ]
        told = ", ".join(f"{name} {cosine:.3f}" for name, cosine in zip(said, cosines, strict=True))
        print(f"{output}: {told or 'no face found'}")
