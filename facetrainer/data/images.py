"""Encoded image ↔ pixels, by OpenCV."""

import cv2
import numpy as np

IMAGE_TYPES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
BEGINNINGS = {
    b"\xff\xd8": ".jpg",
    b"\x89PNG": ".png",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
LARGEST = 1 << 30  # bytes: what claims to be larger than this when decoded is refused

# Images are decoded by many threads at once: OpenCV's own would only fight with them over 112-pixel images.
cv2.setNumThreads(1)


def decode(data: bytes | np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Encoded image or uint8 array → RGB uint8 (height, width, 3), of `shape` if given; ValueError where it is damaged."""
    image = _decode_bytes(data) if isinstance(data, bytes) else data
    if shape is None or image.shape[:2] == tuple(shape):
        return image
    shrinks = image.shape[0] > shape[0] or image.shape[1] > shape[1]
    return cv2.resize(image, tuple(shape)[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def grey(images):
    """Luminance of RGB images, as training, evaluation, teachers and exported files see them (ITU-R BT.601).

    Args:
        images: Array or tensor of shape `(..., 3)`, uint8 or floating point.

    Returns:
        `(..., 1)` of the same type; of integers rounded to the nearest.
    """
    red, green, blue = (images[..., k : k + 1] * np.float32(weight) for k, weight in enumerate((0.299, 0.587, 0.114)))
    found = red + green + blue
    return np.rint(found).astype(np.uint8) if images.dtype == np.uint8 else found


def scaled(values):
    """Pixel values 0…255 as floating-point numbers → (x − 127.5) / 128, the input of every model here. Arrays and tensors."""
    return (values - 127.5) / 128.0


def normalised(images: np.ndarray) -> np.ndarray:
    """uint8 0…255 → float32, `scaled`."""
    return scaled(images.astype(np.float32))


def pixels(images: np.ndarray) -> np.ndarray:
    """Normalised images → uint8 0…255, the way back."""
    return np.clip(np.rint(np.asarray(images, np.float32) * 128 + 127.5), 0, 255).astype(np.uint8)


def _decode_bytes(data):
    if data[:2] == b"\xff\xd8":
        _check_jpeg(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it: {error.err}") from None
    if image is None:
        raise ValueError(f"not an image: {len(data)} bytes beginning with {data[:4]!r}")
    return image


def _check_jpeg(data):
    """What libjpeg forgives: a file that ends early is half a face on grey, a damaged header claims gigabytes."""
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError(f"the JPEG is cut off after {len(data)} bytes")
    height, width = jpeg_size(data)
    if height * width * 3 > LARGEST:
        raise ValueError(f"the JPEG claims {height}×{width} pixels")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width from the frame header, without decoding; (0, 0) where there is none."""
    at = 2
    while at + 9 < len(data):
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF:
            break
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 2 + length if kind != 0xFF else 1
    return 0, 0


def encode(image: np.ndarray, kind: str = ".jpg", quality: int = 95) -> bytes:
    """RGB uint8 → JPEG, or PNG, which loses nothing."""
    return cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def extension(data: bytes) -> str:
    """Suffix ".jpg", ".png", … by an image's first bytes; ".jpg" where they are strange."""
    return next((suffix for begin, suffix in BEGINNINGS.items() if data.startswith(begin)), ".jpg")


def sheet(images: list[np.ndarray], columns: int, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """Images in rows of `columns`, each scaled to `size`, white where the last row ends early → RGB uint8."""
    cells = [decode(image, size) for image in images]
    cells += [np.full((*size, 3), 255, np.uint8)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])
