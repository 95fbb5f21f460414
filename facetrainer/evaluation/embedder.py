"""The one loop that embeds many images."""

import logging
from collections.abc import Callable, Iterator, Sequence

import cv2
import keras
import numpy as np
from tqdm import tqdm

from facetrainer import distributed
from facetrainer.data.images import decode, normalised
from facetrainer.data.sources import Source
from facetrainer.evaluation.interface import image_size, interface
from facetrainer.metrics.verification import unit

log = logging.getLogger("facetrainer")


CROPS = ((1.06, 0, 0), (0.94, 0, 0), (1, 0.036, 0), (1, -0.036, 0), (1, 0, 0.036), (1, 0, -0.036))


def moved(images: np.ndarray, size: float, right: float, down: float) -> np.ndarray:
    """Images scaled about their middle and shifted by parts of their sides; borders are mirrored.

    Args:
        images: uint8 `(n, height, width, 3)`.
        size: Factor.
        right: Part of the width.
        down: Part of the height.

    Returns:
        uint8 `(n, height, width, 3)`.
    """
    height, width = images.shape[1:3]
    shift = ((1 - size) * (width - 1) / 2 + right * width, (1 - size) * (height - 1) / 2 + down * height)
    matrix = np.float32([[size, 0, shift[0]], [0, size, shift[1]]])
    return np.stack([cv2.warpAffine(one, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101) for one in images])


class Embedder:
    """Embeddings of many images by any model, in batches of one size.

    Keep the object: a Keras model is compiled once for it.

    Args:
        model: Keras model, model file, or function of normalised images; see `interface`.
        batch_size: Images at a time. Defaults to `128`.
        size: `(height, width)` of the images. Defaults to what the model takes.
        trusted: Whether a model file may run code of its own, see `interface`. Defaults to `False`.
        crops: Whether an embedding is the sum of those of the image, of it a little larger and smaller, and moved in four directions:
            seven times the work. Defaults to `False`.
    """

    def __init__(
        self,
        model: str | keras.Model | Callable,
        batch_size: int = 128,
        size: tuple[int, int] | None = None,
        trusted: bool = False,
        crops: bool = False,
    ):
        self.embed, self.batch_size, self.crops = interface(model, trusted=trusted), batch_size, crops
        self.size = size or image_size(self.embed)

    def decode(self, images: Sequence | np.ndarray, numbers: Sequence[int] | None = None) -> np.ndarray:
        """Encoded images or arrays → uint8 `(n, height, width, 3)`.

        Args:
            images: The images.
            numbers: What they are called in errors. Defaults to 0, 1, ...

        Returns:
            The pixels.

        Raises:
            ValueError: An image is damaged; the message gives its number, and that of its pair.
        """
        decoded = []
        for number, image in zip(numbers or range(len(images)), images, strict=True):
            try:
                decoded.append(decode(image, self.size))
            except ValueError as error:
                raise ValueError(f"evaluation image {number} (pair {number // 2}): {error}") from error
        return np.stack(decoded)

    def __call__(self, images: np.ndarray, flip: bool | str = True) -> np.ndarray:
        """Embeds images that are decoded already.

        Args:
            images: uint8 `(n, height, width, 3)`.
            flip: What becomes of the mirrored image's embedding: `True` or `"sum"` adds it, `"concat"` sets it behind, `False` or
                `""` leaves it out.

        Returns:
            float32 `(n, D)`, with `"concat"` `(n, 2 * D)`.
        """
        plain = self._run(images)
        if not flip:
            return plain
        mirrored = self._run(images[:, :, ::-1])
        return np.concatenate([plain, mirrored], axis=1) if flip == "concat" else plain + mirrored

    def _run(self, images):
        """The images, and with `crops` what they look like moved."""
        found = self._embedded(images)
        for view in CROPS if self.crops else ():
            found = found + self._embedded(moved(images, *view))
        return found

    def _embedded(self, images):
        """Of several processes each embeds its part."""
        number, count = distributed.process()
        share = -(-len(images) // count)
        mine = images[number * share : (number + 1) * share]
        mine = np.concatenate([mine, np.zeros((share - len(mine), *images.shape[1:]), images.dtype)])
        pieces = [self._piece(mine[i : i + self.batch_size]) for i in range(0, share, self.batch_size)]
        return distributed.gathered(np.concatenate(pieces)).reshape(count * share, -1)[: len(images)]

    def _piece(self, images):
        """One batch; a smaller one is filled up to the next power of two, so that few sizes are compiled."""
        size = min(1 << (len(images) - 1).bit_length(), self.batch_size)
        filled = np.zeros((size, *images.shape[1:]), np.uint8)
        filled[: len(images)] = images
        return np.asarray(self.embed(normalised(filled)), np.float32)[: len(images)]

    def of_encoded(self, images: Sequence, flip: bool | str = False) -> np.ndarray:
        """Encoded images → embeddings, decoded a batch at a time; arguments and result as of `decode` and a call.

        An object that stands in the list several times is embedded once.

        Returns:
            float32 `(n, D)`.
        """
        once: dict[int, int] = {}
        rows = [once.setdefault(id(image), number) for number, image in enumerate(images)]
        numbers = list(once.values())
        pieces = [numbers[i : i + self.batch_size] for i in range(0, len(numbers), self.batch_size)]
        found = np.concatenate([self(self.decode([images[k] for k in piece], piece), flip) for piece in pieces])
        return found if len(numbers) == len(images) else found[np.searchsorted(numbers, rows)]

    def of_source(
        self, source: Source, indices: np.ndarray | None = None, flip: bool | str = False
    ) -> Iterator[np.ndarray]:
        """Embeds samples of a dataset, with a progress bar.

        Args:
            source: Where the images are.
            indices: Which ones; all unless given.
            flip: What becomes of mirrored images, as in a call. Defaults to `False`, there are none.

        Yields:
            float32 `(n, D)` batch by batch; NaN for an image that cannot be read, which is named in the log.
        """
        indices = np.arange(len(source)) if indices is None else indices
        pieces = [indices[i : i + self.batch_size] for i in range(0, len(indices), self.batch_size)]
        for piece in tqdm(pieces, desc="embeddings", unit="batch", disable=None):
            images, readable = self._read(source, piece)
            found = self(images, flip) if flip or self.crops else self._piece(images)
            found[~readable] = np.nan
            yield found

    def means(self, source: Source, indices: np.ndarray | None = None, flip: bool | str = False) -> np.ndarray:
        """Mean direction of each person's images; images that cannot be read are left out.

        Args:
            source: Where the images are.
            indices: Which ones; all unless given.
            flip: What becomes of mirrored images, as in a call. Defaults to `False`.

        Returns:
            float32 `(people, D)`, rows of length 1; zeros for who has no image.
        """
        indices = np.arange(len(source)) if indices is None else indices
        sums, begin = np.zeros((len(source.class_names), 0), np.float32), 0
        for found in self.of_source(source, indices, flip):
            sums = sums if sums.shape[1] else np.zeros((len(sums), found.shape[1]), np.float32)
            people = source.labels[indices[begin : begin + len(found)]]
            good = np.isfinite(found).all(axis=1)
            np.add.at(sums, people[good], unit(found[good]))
            begin += len(found)
        return unit(sums)

    def _read(self, source, piece):
        images, readable = np.zeros((len(piece), *self.size, 3), np.uint8), np.ones(len(piece), bool)
        for row, i in enumerate(piece):
            try:
                images[row] = decode(source.read(int(i)), self.size)
            except (ValueError, OSError) as error:
                readable[row] = False
                log.warning("skipped %s: %s", source.name(int(i)), error)
        return images, readable
