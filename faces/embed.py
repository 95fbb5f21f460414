"""A source of images and an interface → embeddings, in batches, with a progress bar."""

import logging
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from faces.interface import Interface, image_size
from formats.images import decode, normalised
from formats.sources import Source

log = logging.getLogger("face")


def embed_source(
    embed: Interface, source: Source, indices: np.ndarray, shape=None, batch_size: int = 256
) -> Iterator[np.ndarray]:
    """Samples `indices` of `source` → embeddings (n, D) batch by batch, NaN for an image that cannot be read, which is named.

    `shape`: height and width of the images, what the model takes unless given.
    """
    shape = shape or image_size(embed)
    pieces = [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]
    for piece in tqdm(pieces, desc="embeddings", unit="batch", disable=None):
        images, readable = _read(source, piece, shape)
        found = np.asarray(embed(normalised(images)), np.float32)
        found[~readable] = np.nan
        yield found


def _read(source, piece, shape):
    images, readable = np.zeros((len(piece), *shape, 3), np.uint8), np.ones(len(piece), bool)
    for row, i in enumerate(piece):
        try:
            images[row] = decode(source.read(int(i)), shape)
        except (ValueError, OSError) as error:
            readable[row] = False
            log.warning("skipped %s: %s", source.name(int(i)), error)
    return images, readable
