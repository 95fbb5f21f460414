import os
import struct

import cv2
import numpy as np
import pytest

from facetrainer.data import images, sources


@pytest.fixture(scope="module")
def picture():
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (120, 100, 3), np.uint8), (9, 9), 3)


def encoded(picture, kind, *options):
    return cv2.imencode(kind, picture[..., ::-1], list(options))[1].tobytes()


@pytest.mark.parametrize("kind", [*images.IMAGE_TYPES, ".gif"])
def test_the_size_is_read_before_decoding(picture, kind, monkeypatch):
    data = encoded(picture[..., 0] if kind == ".pgm" else picture, kind)
    assert images.size_of(data) == (120, 100) == images.decode(data).shape[:2]
    monkeypatch.setenv("FACE_MAX_PIXELS", "11999")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"claims 120×100 pixels, more than 11,999: set FACE_MAX_PIXELS"):
        images.decode(data)
    monkeypatch.setenv("FACE_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="FACE_MAX_PIXELS: expected a number of pixels"):
        images.decode(data)


@pytest.mark.parametrize("kind", [*images.IMAGE_TYPES, ".gif"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.95])
def test_cut_images_are_told(picture, kind, part):
    """Also with an end marker put behind, as half a grey face has."""
    data = encoded(picture[..., 0] if kind == ".pgm" else picture, kind)
    cut = data[: int(len(data) * part)]
    for end in (b"", b"\xff\xd9"):
        with pytest.raises(ValueError, match="cut off|damaged|not an image|cannot decode"):
            images.decode(cut + end)


def test_progressive_and_grey_jpegs(picture):
    progressive = encoded(picture, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    np.testing.assert_array_equal(
        images.decode(progressive), cv2.imdecode(np.frombuffer(progressive, np.uint8), cv2.IMREAD_COLOR_RGB)
    )
    with pytest.raises(ValueError, match="cut off"):
        images.decode(progressive[: len(progressive) * 2 // 3] + b"\xff\xd9")
    assert images.decode(encoded(picture[..., 0], ".jpg")).shape == (120, 100, 3)


def test_small_faults_of_a_jpeg_are_forgiven(picture):
    data = encoded(picture, ".jpg")
    stray = data[:-2] + bytes(10) + data[-2:]
    np.testing.assert_array_equal(images.decode(stray), images.decode(data))


def test_bytes_behind_a_png_do_no_harm(picture):
    data = encoded(picture, ".png")
    for more in (b"\n", b"\xff" * 40):
        np.testing.assert_array_equal(images.decode(data + more), picture)


@pytest.mark.parametrize(
    ("orientation", "turned"), [(1, lambda x: x), (3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1))]
)
def test_a_camera_that_was_held_otherwise(picture, orientation, turned):
    data = encoded(picture, ".jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    with_exif = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    np.testing.assert_array_equal(images.decode(with_exif), turned(images.decode(data)))


def test_arrays_of_any_channels():
    """Verification sets hold grey arrays too."""
    shade = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for image in (shade, shade[..., None], np.repeat(shade[..., None], 3, axis=2)):
        np.testing.assert_array_equal(images.decode(image), np.repeat(shade[..., None], 3, axis=2))
    for shape in ((3, 4, 2), (3,), (0, 4, 3)):
        with pytest.raises(ValueError, match=r"expected an image \(height, width, 3\)"):
            images.decode(np.zeros(shape, np.uint8))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="of Unix")
def test_a_list_that_names_devices(tmp_path):
    """One has no end; a pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "l.csv").write_text(f"image,person\n/dev/zero,ann\npipe.jpg,bob\n{tmp_path},cid\nnone.jpg,dan\n")
    source = sources.open_source(str(tmp_path / "l.csv"))
    for i in range(3):
        with pytest.raises(ValueError, match="is no file"):
            source.read(i)
    with pytest.raises(FileNotFoundError):
        source.read(3)
