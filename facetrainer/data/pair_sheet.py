"""A picture of pairs of faces that go wrong, with names and cosines."""

import dataclasses
import os

import numpy as np
from PIL import Image, ImageDraw

from facetrainer.data.images import encode
from facetrainer.utils.files import replacing
from facetrainer.utils.fonts import font

SIDE, LINE, GAP = 112, 16, 24
KINDS = ("different people, the likest first", "one person, the unlikest first")


@dataclasses.dataclass(frozen=True)
class Shown:
    """A pair in the picture.

    Attributes:
        images: Two faces, uint8 `(112, 112, 3)`.
        cosine: Of their embeddings.
        names: Of their people, or of their files; two equal ones are written once. Defaults to none.
    """

    images: tuple[np.ndarray, np.ndarray]
    cosine: float
    names: tuple[str, str] = ("", "")

    def lines(self, threshold: float | None) -> list[str]:
        """What is written below it."""
        far = ""
        if threshold is not None:
            side = "above" if self.cosine >= threshold else "below"
            far = f", {abs(self.cosine - threshold):.3f} {side} the threshold"
        return [" / ".join(dict.fromkeys(filter(None, self.names))), f"cosine {self.cosine:.3f}{far}"]


def worst(scores: np.ndarray, same: np.ndarray, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the likest pairs of different people, and of the unlikest of one, `count` of each at most."""
    order = np.argsort(scores, kind="stable")
    return order[~same[order]][::-1][:count], order[same[order]][:count]


def write(path: str, different: list[Shown], same: list[Shown], threshold: float | None = None) -> None:
    """Writes the picture, `.jpg`: pairs of different people on the left, of one person on the right.

    Args:
        path: The file.
        different: The likest first.
        same: The unlikest first.
        threshold: How far from it each cosine is, is written as well. Defaults to none.
    """
    wide, high = 2 * SIDE + GAP, SIDE + 2 * LINE + GAP // 2
    page = Image.new("RGB", (2 * wide + GAP, max(len(different), len(same)) * high + 2 * LINE), "white")
    draw = ImageDraw.Draw(page)
    for column, pairs in enumerate((different, same)):
        left = GAP + column * wide
        draw.text((left, 4), KINDS[column], "black", font(12))
        for row, pair in enumerate(pairs):
            top = 2 * LINE + row * high
            for k, image in enumerate(pair.images):
                page.paste(Image.fromarray(image), (left + k * SIDE, top))
            for k, line in enumerate(pair.lines(threshold)):
                draw.text((left, top + SIDE + 1 + k * LINE), _fitting(draw, line), "black", font(11))
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with replacing(path) as part, open(part, "wb") as file:
        file.write(encode(np.asarray(page), quality=90))


def _fitting(draw, line):
    """As much of a line as has room below a pair."""
    whole = line
    while draw.textlength(line, font(11)) > 2 * SIDE + GAP // 2:
        line = line.removesuffix("…")[:-1] + "…"
        if len(line) < 2:
            return whole[:1]
    return line
