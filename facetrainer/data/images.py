"""Encoded image ↔ pixels, by libjpeg-turbo (simplejpeg) and OpenCV.

Images come from strangers: their size is read before they are decoded, and one of more than `max_pixels` is refused.
"""

import io
import os
import struct
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import BmpImagePlugin, GifImagePlugin, Jpeg2KImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin

IMAGE_TYPES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
BEGINNINGS = {
    b"\xff\xd8": ".jpg",
    b"\x89PNG": ".png",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
HEADERS: dict[bytes, Any] = {
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    **dict.fromkeys((b"II*\0", b"MM\0*"), TiffImagePlugin.TiffImageFile),
    **dict.fromkeys((b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"), Jpeg2KImagePlugin.Jpeg2KImageFile),
    **dict.fromkeys((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), PpmImagePlugin.PpmImageFile),
}
PIXELS_A_BYTE = 512  # a JPEG spends a bit on a block of 64 at least

# Images are decoded by many threads at once: OpenCV's own would only fight with them over 112-pixel images.
cv2.setNumThreads(1)


def decode(data: bytes | np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes an image.

    Args:
        data: Encoded image, or uint8 array.
        shape: `(height, width)` to scale to; as it is unless given. Defaults to `None`.

    Returns:
        RGB uint8 `(height, width, 3)`.

    Raises:
        ValueError: The image is damaged, or larger than `FACE_MAX_PIXELS`.
    """
    image = _decode_bytes(data) if isinstance(data, bytes) else _coloured(data)
    if shape is None or image.shape[:2] == tuple(shape):
        return image
    shrinks = image.shape[0] > shape[0] or image.shape[1] > shape[1]
    return cv2.resize(image, tuple(shape)[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _coloured(image):
    """Arrays of one channel, or without channels, as three equal ones."""
    if image.ndim == 2 or image.ndim == 3 and image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected an image (height, width, 3). Received: shape {image.shape}")
    return image


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
    """What basic models take.

    Args:
        images: uint8, 0 to 255.

    Returns:
        float32, `(x − 127.5) / 128`.
    """
    return scaled(images.astype(np.float32))


def pixels(images: np.ndarray) -> np.ndarray:
    """Normalised images → uint8 0…255, the way back."""
    return np.clip(np.rint(np.asarray(images, np.float32) * 128 + 127.5), 0, 255).astype(np.uint8)


def max_pixels() -> int:
    """Height times width beyond which an image is refused: the environment variable `FACE_MAX_PIXELS`, 50 million unless set."""
    given = os.environ.get("FACE_MAX_PIXELS", "50_000_000")
    try:
        return int(float(given))
    except ValueError:
        raise ValueError(f"FACE_MAX_PIXELS: expected a number of pixels, 50_000_000. Received: {given!r}") from None


def _decode_bytes(data):
    is_jpeg = data[:2] == b"\xff\xd8"
    height, width = size_of(data)
    if height * width > max_pixels():
        raise ValueError(
            f"the image claims {height}×{width} pixels, more than {max_pixels():,}: set FACE_MAX_PIXELS to read it."
        )
    return _decode_jpeg(data, height * width) if is_jpeg else _decode_other(data)


def _decode_jpeg(data, claimed):
    """What other decoders forgive, a file that ends early and is half a face on grey, is an error here."""
    if claimed > PIXELS_A_BYTE * len(data):
        raise ValueError(f"the JPEG claims {claimed} pixels in {len(data)} bytes")
    try:
        image = simplejpeg.decode_jpeg(data, strict=True)
    except ValueError as error:
        if "premature end" in str(error).lower():
            raise ValueError(f"the JPEG is cut off after {len(data)} bytes: {error}") from None
        return _decode_other(data)  # smaller faults, stray bytes between markers, which harm no pixel
    return _decode_other(data) if b"Exif" in data[:64] else image  # OpenCV turns it as the camera was held


def _decode_other(data):
    if data[:4] == b"\x89PNG":
        _check_chunks(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it: {error.err}") from None
    if image is None:
        raise ValueError(f"the image is damaged: {len(data)} bytes beginning with {data[:4]!r}")
    return image


def _check_chunks(data):
    """OpenCV reserves what a chunk of a PNG claims before it reads it."""
    at = 8
    while at < len(data) and data[at - 8 : at - 4] != b"IEND":  # what stands behind the end does no harm
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            raise ValueError(f"the image is damaged: a chunk of {length} bytes at byte {at} of {len(data)}")
        at += 12 + length


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width that an encoded image claims, without decoding it.

    Args:
        data: JPEG, PNG, BMP, WebP, TIFF, PNM, JPEG 2000 or GIF.

    Returns:
        Height and width in pixels.

    Raises:
        ValueError: It is none of these, or its header is damaged.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        if data[:4] == b"RIFF":
            return _webp_size(data)
        reader = next(reader for begin, reader in HEADERS.items() if data.startswith(begin))
        with reader(io.BytesIO(data)) as image:
            return image.height, image.width
    except Exception as error:  # a damaged header can raise nearly anything
        raise ValueError(f"not an image: {len(data)} bytes beginning with {data[:4]!r}") from error


def _webp_size(data):
    """RFC 9649, sections 2.5 to 2.7; Pillow would make a canvas of that size first."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


def encode(image: np.ndarray, kind: str = ".jpg", quality: int = 95) -> bytes:
    """RGB uint8 → JPEG, or PNG, which loses nothing."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == ".jpg" else []
    return cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def extension(data: bytes) -> str:
    """Suffix ".jpg", ".png", … by an image's first bytes; ".jpg" where they are strange."""
    return next((suffix for begin, suffix in BEGINNINGS.items() if data.startswith(begin)), ".jpg")


def sheet(images: list[np.ndarray], columns: int, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """Images in rows of `columns`, each scaled to `size`, white where the last row ends early → RGB uint8."""
    cells = [decode(image, size) for image in images]
    cells += [np.full((*size, 3), 255, np.uint8)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])
