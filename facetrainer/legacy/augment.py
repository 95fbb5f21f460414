"""`AutoAugment` and single operations of `import augment`, on RGB uint8 (H, W, 3)."""

import cv2
import numpy as np

from facetrainer.data.augment import LEVELS, OPERATIONS, RandAugment

# Cubuk et al., CVPR 2019, arXiv:1805.09501, table 9: (operation, probability, magnitude), two a row
V0 = """
Equalize .8 1 ShearY .8 4|Color .4 9 Equalize .6 3|Color .4 1 Rotate .6 8|Solarize .8 3 Equalize .4 7|Solarize .4 2 Solarize .6 2
Color .2 0 Equalize .8 8|Equalize .4 8 SolarizeAdd .8 3|ShearX .2 9 Rotate .6 8|Color .6 1 Equalize 1 2|Invert .4 9 Rotate .6 0
Equalize 1 9 ShearY .6 3|Color .4 7 Equalize .6 0|Posterize .4 6 AutoContrast .4 7|Solarize .6 8 Color .6 9|Solarize .2 4 Rotate .8 9
Rotate 1 7 TranslateY .8 9|ShearX 0 0 Solarize .8 4|ShearY .8 0 Color .6 4|Color 1 0 Rotate .6 2|Equalize .8 4 Equalize 0 8
Equalize 1 4 AutoContrast .6 2|ShearY .4 7 SolarizeAdd .6 7|Posterize .8 2 Solarize .6 10|Solarize .6 8 Equalize .6 1|Color .8 6 Rotate .4 5
"""


def _read(table):
    rows = [row.split() for row in table.strip().replace("\n", "|").split("|")]
    return [[(row[k], float(row[k + 1]), float(row[k + 2])) for k in range(0, len(row), 3)] for row in rows]


class AutoAugment:
    """One of a list of policies an image, each operation of it with its probability. An augmentation as `Train` takes them.

    Args:
        augmentation_name: "v0", the ImageNet policies.
        policies: Lists of (operation, probability, magnitude 0–10) in the place of the named ones.
        cutout_const: Half the side of the largest patch. Defaults to `100`.
        translate_const: Most pixels of a shift. Defaults to `250`.

    Raises:
        ValueError: The name is unknown.
    """

    def __init__(self, augmentation_name="v0", policies=None, cutout_const=100, translate_const=250):
        if policies is None and augmentation_name != "v0":
            raise ValueError(f"augmentation_name: expected 'v0', or give policies=. Received: {augmentation_name!r}")
        self.policies = _read(V0) if policies is None else policies
        self.constants = {"cutout_const": cutout_const, "translate_const": translate_const}

    def __call__(self, image, rng):
        for name, probability, magnitude in self.policies[rng.integers(len(self.policies))]:
            if rng.random() < probability:
                image = OPERATIONS[name](RandAugment(magnitude=magnitude, **self.constants), image, rng)
        return image

    def distort(self, image, rng=None):
        """The image changed.

        Args:
            image: RGB uint8 (H, W, 3).
            rng: A `numpy.random.Generator`; a new one unless given.

        Returns:
            RGB uint8 `(H, W, 3)`.
        """
        return self(np.asarray(image), rng or np.random.default_rng())


def _level(curve):
    """A function of an image by a table of its 256 levels."""
    return lambda image, *values: cv2.LUT(
        np.asarray(image), np.clip(curve(LEVELS.astype(int), *values), 0, 255).astype(np.uint8)
    )


def _named(operation):
    """One of RandAugment's, without a magnitude."""
    return lambda image: OPERATIONS[operation](RandAugment(), np.asarray(image), None)


def _factor(operation):
    """One of RandAugment's, by blend factor: 0 is the other end, 1 the image itself."""
    return lambda image, factor: OPERATIONS[operation](
        RandAugment(magnitude=(factor - 0.1) / 0.18), np.asarray(image), None
    )


def _moved(matrix):
    """A warp by a matrix; `replace` fills what comes into sight."""

    def move(image, value, replace=(128, 128, 128)):
        image = np.asarray(image)
        return cv2.warpAffine(
            image, np.float64(matrix(value, *image.shape[:2])), image.shape[1::-1], borderValue=replace
        )

    return move


autocontrast, equalize = _named("AutoContrast"), _named("Equalize")
invert = _level(lambda x: 255 - x)
posterize = _level(lambda x, bits: x >> (8 - bits) << (8 - bits))
solarize = _level(lambda x, threshold=128: np.where(x < threshold, x, 255 - x))
solarize_add = _level(lambda x, addition=0, threshold=128: np.where(x < threshold, x + addition, x))
color, contrast, brightness, sharpness = (_factor(name) for name in ("Color", "Contrast", "Brightness", "Sharpness"))
translate_x = _moved(lambda pixels, h, w: [[1, 0, pixels], [0, 1, 0]])
translate_y = _moved(lambda pixels, h, w: [[1, 0, 0], [0, 1, pixels]])
shear_x = _moved(lambda level, h, w: [[1, level, 0], [0, 1, 0]])
shear_y = _moved(lambda level, h, w: [[1, 0, 0], [level, 1, 0]])
rotate = _moved(lambda degrees, h, w: cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1))


def blend(image1, image2, factor):
    """image1 · (1 − factor) + image2 · factor."""
    return cv2.addWeighted(np.asarray(image2), factor, np.asarray(image1), 1 - factor, 0)


def cutout(image, pad_size, replace=0):
    """A square of 2 · `pad_size` pixels at a random place, filled with `replace`."""
    image, rng = np.array(image), np.random.default_rng()
    row, column = rng.integers(image.shape[0]), rng.integers(image.shape[1])
    image[max(row - pad_size, 0) : row + pad_size, max(column - pad_size, 0) : column + pad_size] = replace
    return image
