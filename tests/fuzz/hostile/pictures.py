"""Images whose headers promise more than their bytes, and one that is half there."""

import struct
import zlib

import cv2
import numpy as np

from .files import hostile, put


def png(width, height, rows=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + 3 * width) * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def small_jpeg():
    yes, data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8))
    return data.tobytes()


@hostile("huge.png", "memory")
def huge_png(path):
    put(path, png(32_000, 32_000, 1200))


@hostile("chunk.png", "memory")
def chunk_png(path):
    """Found by fuzzing: a chunk that claims a gigabyte, in a small picture."""
    data = bytearray(cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 1 << 30)
    put(path, bytes(data))


@hostile("huge.jpg", "memory")
def huge_jpg(path):
    data = bytearray(small_jpeg()[:700])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 26_000, 26_000)
    put(path, bytes(data) + b"\xff\xd9")


@hostile("half.jpg", "truth")
def half_jpg(path):
    data = small_jpeg()
    put(path, data[: len(data) // 2] + b"\xff\xd9")


@hostile("huge.bmp", "memory")
def huge_bmp(path):
    put(path, b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100))


@hostile("huge.gif", "memory")
def huge_gif(path):
    put(
        path,
        b"GIF89a"
        + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0)
        + b"\x02\x02\x4c\x01\x00;",
    )


@hostile("huge.ppm", "memory")
def huge_ppm(path):
    put(path, b"P6\n30000 30000\n255\n" + bytes(100))


@hostile("huge.webp", "memory")
def huge_webp(path):
    size = struct.pack("<I", (16_383 - 1) | (16_383 - 1) << 14)
    put(path, b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 18) + b"\x2f" + size + bytes(13))


@hostile("huge.tif", "memory")
def huge_tif(path):
    tags = [(256, 40_000), (257, 40_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 40_000), (279, 100)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    put(path, b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(104))
