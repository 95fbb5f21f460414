"""Augmentations: `(image uint8 (H, W, 3), rng) → image`, drawn from a numpy Generator and from nothing else.

`from_status` reads the `random_status` numbers of Keras_insightface; any list of callables of this shape does as well.
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from facetrainer.data import images

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
FILTERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
LEVELS = np.arange(256, dtype=np.uint8)
SAME = np.eye(3, 4)  # red, green, blue, 1 → themselves
GREY = np.tile([0.299, 0.587, 0.114, 0], (3, 1))  # → their grey, three times


def flip(image, rng):
    """Mirrored left to right, half of the time."""
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


@dataclasses.dataclass(frozen=True)
class Light:
    """Brightness, contrast and saturation at once, one matrix a pixel.

    Args:
        brightness: Grey levels, up or down. Defaults to `0`.
        contrast: About each channel's mean, factor 1 ± this. Defaults to `0`.
        saturation: Distance from the pixel's own grey (ITU-R BT.601), factor 1 ± this. Defaults to `0`.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __call__(self, image, rng):
        drawn = rng.uniform(-1, 1, 3).tolist()
        shift, contrast, saturation = drawn[0] * self.brightness, drawn[1] * self.contrast, drawn[2] * self.saturation
        mixed = _saturated(1 + saturation)
        matrix = mixed * (1 + contrast)
        matrix[:, 3] = mixed[:, :3] @ [shift - contrast * mean for mean in cv2.mean(image)[:3]]
        return cv2.transform(image, matrix)


@dataclasses.dataclass(frozen=True)
class Crop:
    """A window of `height` × `width` anywhere in the image, scaled back to the image's size."""

    height: int = 100
    width: int = 100

    def __call__(self, image, rng):
        rows, columns = image.shape[:2]
        height, width = min(self.height, rows), min(self.width, columns)
        top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
        return cv2.resize(image[top : top + height, left : left + width], (columns, rows))


@dataclasses.dataclass(frozen=True)
class LowerMask:
    """Grey from a random row in the lower `area` of the image down to its end, half of the time: a face mask."""

    area: float = 0.3

    def __call__(self, image, rng):
        if rng.random() < 0.5:
            return image
        top = int(image.shape[0] * (1 - rng.uniform(0, self.area)))
        image = image.copy()
        image[top:] = 128
        return image


@dataclasses.dataclass(frozen=True)
class Affine:
    """Rotation ± `degrees`, size 1 ± `scale`, shift ± `shift` (part of the side); the border is mirrored."""

    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.05

    def __call__(self, image, rng):
        height, width = image.shape[:2]
        angle, scale = rng.uniform(-self.degrees, self.degrees), 1 + rng.uniform(-self.scale, self.scale)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
        matrix[:, 2] += rng.uniform(-self.shift, self.shift, 2) * (width, height)
        return _warp(image, matrix)


@dataclasses.dataclass(frozen=True)
class Colour:
    """Gamma, contrast, brightness and white balance at once; `grey` of the images lose their colour."""

    gamma: float = 0.35
    contrast: float = 0.3
    brightness: float = 25.0
    balance: float = 0.1
    grey: float = 0.2

    def __call__(self, image, rng):
        gamma = np.exp(rng.uniform(-self.gamma, self.gamma))
        contrast = 1 + rng.uniform(-self.contrast, self.contrast)
        shift = rng.uniform(-self.brightness, self.brightness)
        balance = 1 + rng.uniform(-self.balance, self.balance, 3)
        curve = ((np.arange(256) / 255) ** gamma * 255 - 127) * contrast + 127 + shift
        if rng.random() < self.grey:
            image, balance = np.repeat(images.grey(image), 3, axis=-1), np.ones(3)
        return cv2.LUT(image, _table(curve[:, None] * balance))


@dataclasses.dataclass(frozen=True)
class Erase:
    """A rectangle of one random colour, sides 1/8 to 1/2 of the image, over `probability` of the images.

    Random erasing: Zhong et al., AAAI 2020, arXiv:1708.04896.
    """

    probability: float = 0.5

    def __call__(self, image, rng):
        if rng.random() >= self.probability:
            return image
        rows, columns = image.shape[:2]
        height, width = rng.integers(rows // 8, rows // 2 + 1), rng.integers(columns // 8, columns // 2 + 1)
        top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
        image = np.ascontiguousarray(image).copy()
        image[top : top + height, left : left + width] = rng.integers(0, 256, 3)
        return image


@dataclasses.dataclass(frozen=True)
class LowResolution:
    """Shrunk to 30–60 % (`least` to `most`) and enlarged again, `probability` of the images; `any_filter` draws the filters."""

    probability: float = 0.2
    least: float = 0.3
    most: float = 0.6
    any_filter: bool = False

    def __call__(self, image, rng):
        if rng.random() >= self.probability:
            return image
        factor, (height, width) = rng.uniform(self.least, self.most), image.shape[:2]
        filters = rng.choice(FILTERS, 2) if self.any_filter else (cv2.INTER_AREA, cv2.INTER_LINEAR)
        size = max(int(width * factor), 1), max(int(height * factor), 1)
        small = cv2.resize(image, size, interpolation=int(filters[0]))
        return cv2.resize(small, (width, height), interpolation=int(filters[1]))


@dataclasses.dataclass(frozen=True)
class Window:
    """Black outside a window of `least` to all of the area, sides 3:4 to 4:3, of `probability` of the images; nothing moves.

    AdaFace's crop (Kim et al., CVPR 2022, arXiv:2204.00964, section 4.1).
    """

    probability: float = 0.2
    least: float = 0.2

    def __call__(self, image, rng):
        if rng.random() >= self.probability:
            return image
        rows, columns = image.shape[:2]
        area, ratio = rng.uniform(self.least, 1) * rows * columns, np.exp(rng.uniform(-1, 1) * np.log(4 / 3))
        height, width = min(round(np.sqrt(area / ratio)), rows), min(round(np.sqrt(area * ratio)), columns)
        top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
        seen = np.zeros_like(image)
        seen[top : top + height, left : left + width] = image[top : top + height, left : left + width]
        return seen


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Brightness, contrast and saturation times 1 ± `strength`, in random order, `probability` of the images: torchvision's ColorJitter."""

    probability: float = 0.2
    strength: float = 0.5

    def __call__(self, image, rng):
        if rng.random() >= self.probability:
            return image
        for number in rng.permutation(3):
            factor = 1 + rng.uniform(-self.strength, self.strength)
            if number == 0:
                image = _level(image, factor)
            elif number == 1:
                image = _contrasted(image, factor)
            else:
                image = _blend(_grey(image), image, factor)
        return image


@dataclasses.dataclass(frozen=True)
class Sometimes:
    """Another augmentation, for `probability` of the images."""

    augmentation: Augmentation
    probability: float = 0.2

    def __call__(self, image, rng):
        return self.augmentation(image, rng) if rng.random() < self.probability else image


def adaface() -> list:
    """AdaFace's: mirroring, and each for a fifth of the images a window, low resolution and other light.

    Returns:
        Augmentations, in order.

    Reference:
        Kim et al., CVPR 2022, arXiv:2204.00964, section 4.1, with the values of their code.
    """
    return [flip, Window(), LowResolution(0.2, 0.2, 1.0, any_filter=True), Jitter()]


def gridsample() -> list:
    """CVLface's gridsample_v1: mirroring and size 0.8 to 1.2.

    Each for a fifth of the images: a rotation up to 20°, two operations of RandAugment on colours, blur, and a grey square.

    Returns:
        Augmentations, in order.
    """
    colours = RandAugment(2, 10 * 14 / 30)
    colours.available_ops = [name for name in FACE_OPERATIONS if not name.startswith("Shear")]
    square = RandAugment(1, 10.0, cutout_const=28.0)
    square.available_ops = ["Cutout"]
    return [flip, Affine(0, 0.2, 0), Sometimes(Affine(20, 0, 0)), colours, Blur(0.2), Sometimes(square)]


@dataclasses.dataclass(frozen=True)
class Blur:
    """Gaussian blur of σ up to `sigma` pixels, `probability` of the images: out of focus, or moved."""

    probability: float = 0.2
    sigma: float = 2.0

    def __call__(self, image, rng):
        if rng.random() >= self.probability:
            return image
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, self.sigma))


class RandAugment:
    """`num_layers` operations drawn anew for each image, all of one `magnitude` (0–10).

    Cubuk et al., NeurIPS 2020, arXiv:1909.13719. `available_ops` may be set to any part of `OPERATIONS`. What moves, moves to the nearest
    pixel, as torchvision's does unless told otherwise.
    """

    def __init__(self, num_layers=2, magnitude=10.0, cutout_const=40.0, translate_const=100.0):
        self.num_layers, self.magnitude = num_layers, magnitude
        self.cutout_const, self.translate_const = cutout_const, translate_const
        self.available_ops = list(OPERATIONS)

    def __repr__(self):
        return f"RandAugment({self.num_layers}, {self.magnitude}, {self.available_ops})"

    def __call__(self, image, rng):
        for number in rng.integers(len(self.available_ops), size=self.num_layers):
            image = OPERATIONS[self.available_ops[number]](self, image, rng)
        return image

    distort = __call__

    def signed(self, most, rng):
        """`most` times the magnitude, with a random sign."""
        return most * self.magnitude / 10 * (1 if rng.random() < 0.5 else -1)

    def factor(self):
        """Blend factor 0.1 … 1.9: 1 leaves the image as it is."""
        return self.magnitude / 10 * 1.8 + 0.1


def _posterize(aug, image, rng):
    shift = 8 - int(aug.magnitude / 10 * 4)
    return image & np.uint8(255 >> shift << shift)


def _solarize(aug, image, rng):
    return cv2.LUT(image, np.where(aug.magnitude / 10 * 256 > LEVELS, LEVELS, 255 - LEVELS))


def _solarize_add(aug, image, rng):
    added = np.minimum(LEVELS.astype(int) + int(aug.magnitude / 10 * 110), 255).astype(np.uint8)
    return cv2.LUT(image, np.where(LEVELS < 128, added, LEVELS))


def _sharpness(aug, image, rng):
    """Against a kernel of ones with 5 in the middle, over 13: 9/13 of the mean of nine, 4/13 of the pixel itself."""
    return _blend(cv2.boxFilter(image, -1, (3, 3)), image, 1 - (1 - aug.factor()) * 9 / 13)


def _cutout(aug, image, rng):
    pad = int(aug.magnitude / 10 * aug.cutout_const)
    row, column = rng.integers(image.shape[0]), rng.integers(image.shape[1])
    image = image.copy()
    image[max(row - pad, 0) : row + pad, max(column - pad, 0) : column + pad] = 128
    return image


def _rotate(aug, image, rng):
    height, width = image.shape[:2]
    return _moved(image, cv2.getRotationMatrix2D((width / 2, height / 2), aug.signed(30, rng), 1))


OPERATIONS = {
    "AutoContrast": lambda aug, image, rng: _autocontrast(image),
    "Equalize": lambda aug, image, rng: cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)]),
    "Invert": lambda aug, image, rng: 255 - image,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "Color": lambda aug, image, rng: cv2.transform(image, _saturated(aug.factor())),
    "Contrast": lambda aug, image, rng: _contrasted(image, aug.factor()),
    "Brightness": lambda aug, image, rng: _level(image, aug.factor()),
    "Sharpness": _sharpness,
    "ShearX": lambda aug, image, rng: _moved(image, np.array([[1, aug.signed(0.3, rng), 0], [0, 1, 0]])),
    "ShearY": lambda aug, image, rng: _moved(image, np.array([[1, 0, 0], [aug.signed(0.3, rng), 1, 0]])),
    "TranslateX": lambda aug, image, rng: _moved(
        image, np.array([[1, 0, aug.signed(aug.translate_const, rng)], [0, 1, 0]])
    ),
    "TranslateY": lambda aug, image, rng: _moved(
        image, np.array([[1, 0, 0], [0, 1, aug.signed(aug.translate_const, rng)]])
    ),
    "Cutout": _cutout,
    "SolarizeAdd": _solarize_add,
}
FACE_OPERATIONS = [
    name
    for name in OPERATIONS
    if name not in ("Invert", "Rotate", "Solarize", "SolarizeAdd", "Cutout", "TranslateX", "TranslateY")
]


def from_status(random_status: int, random_crop=(100, 100), random_cutout_mask_area: float = 0.0) -> list:
    """Keras_insightface's `random_status` → augmentations.

    −1 none, 0 flip, 1 + brightness, 2 + contrast and saturation, 3 + crop; the strength grows with the number.
    100 and more: flip and RandAugment of magnitude `5 · random_status / 100` over operations that leave a face a face.

    Returns:
        Augmentations, in order.
    """
    steps: list[Augmentation] = [flip] if random_status >= 0 else []
    if random_status >= 100:
        steps.append(drawn := RandAugment(magnitude=5 * random_status / 100))
        drawn.available_ops = FACE_OPERATIONS
    elif random_status >= 1:
        contrast = 0.1 * random_status if random_status >= 2 else 0.0
        steps.append(Light(12.75 * random_status, contrast, contrast))
        steps += [Crop(*random_crop[:2])] if random_status >= 3 and random_crop else []
    return steps + ([LowerMask(random_cutout_mask_area)] if random_cutout_mask_area > 0 else [])


def _warp(image, matrix, interpolation=cv2.INTER_LINEAR):
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _moved(image, matrix):
    """What RandAugment moves: to the nearest pixel."""
    return _warp(image, matrix, cv2.INTER_NEAREST)


def _saturated(factor):
    """Matrix: each pixel's distance from its own grey, times a factor."""
    return SAME * factor + GREY * (1 - factor)


def _table(curve):
    return np.clip(np.rint(curve), 0, 255).astype(np.uint8).reshape(256, 1, -1)


def _level(image, factor, offset=0.0):
    return cv2.addWeighted(image, factor, image, 0, offset)


def _contrasted(image, factor):
    """Times a factor about the mean of its grey."""
    return _level(image, factor, GREY[0] @ cv2.mean(image) * (1 - factor))


def _autocontrast(image):
    rows = image.reshape(len(image), -1)  # contiguous, so that whole rows are compared at once
    low, high = rows.min(0).reshape(-1, 3).min(0).astype(float), rows.max(0).reshape(-1, 3).max(0).astype(float)
    factor = np.where(high > low, 255 / np.maximum(high - low, 1), 1.0)
    return cv2.transform(image, np.column_stack([np.diag(factor), np.where(high > low, -low * factor, 0.0)]))


def _grey(image):
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _blend(first, second, factor):
    return cv2.addWeighted(second, factor, first, 1 - factor, 0)
