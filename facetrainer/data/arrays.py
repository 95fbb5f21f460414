"""Images and labels that are in memory already."""

from typing import Any

import numpy as np

from facetrainer.data.sources import Source, number_people


class ArraySource(Source):
    """Arrays as a source.

    Args:
        images: uint8, 0 to 255: (n, H, W), (n, H, W, 1) or RGB (n, H, W, 3).
        people: Numbers or names (n,), or one-hot (n, C).

    Raises:
        ValueError: They are something else.
    """

    def __init__(self, images: np.ndarray, people: np.ndarray):
        images, people = np.asarray(images), np.asarray(people)
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] not in (1, 3))
        ):
            raise ValueError(
                f"data_path: expected images uint8, 0 to 255, (n, H, W) or (n, H, W, 1 or 3). Received: {images.dtype} {images.shape}"
            )
        people = people.argmax(axis=1) if people.ndim == 2 and people.shape[1] > 1 else people.reshape(-1)
        if len(people) != len(images):
            raise ValueError(
                f"data_path: expected a label for each of {len(images)} images. Received: {len(people)} labels"
            )
        self.images = images
        self.class_names, self.labels = number_people(people)

    def read(self, i: int) -> Any:
        """Image `i`, not encoded."""
        return self.images[i]

    def name(self, i: int) -> str:
        return f"image {i} of the array"


def digits(path: str | None = None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Handwritten digits, with which losses are drawn on a plane.

    Args:
        path: npz of MNIST: x and y, of which a tenth is held out, or Keras's x_train, y_train, x_test, y_test. Without it
            scikit-learn's 1,797 digits of 8×8 pixels.

    Returns:
        (images uint8, labels) to train on, and of others.

    Raises:
        ValueError: The file has neither.
    """
    if path is None:
        from sklearn.datasets import load_digits

        found = load_digits()
        return _divided(np.rint(found.images * (255 / 16)).astype(np.uint8), found.target)
    from facetrainer.io import cached

    found = cached.read_npz(path, growth=100)
    if {"x", "y"} <= set(found):
        return _divided(found["x"], found["y"])
    try:
        return (found["x_train"], found["y_train"]), (found["x_test"], found["y_test"])
    except KeyError:
        raise ValueError(
            f"{path}: expected x and y, or x_train, y_train, x_test, y_test. Received: {sorted(found)}"
        ) from None


def _divided(x, y):
    order, train = np.random.default_rng(0).permutation(len(x)), len(x) * 9 // 10
    first, rest = order[:train], order[train:]
    return (x[first], y[first]), (x[rest], y[rest])
