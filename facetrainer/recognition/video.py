"""Frames of a file or camera, and who is seen when."""

import contextlib
import csv
import logging
import os
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from tqdm import tqdm

from facetrainer.recognition.gallery import Gallery
from facetrainer.recognition.tracking import Track, Tracker
from facetrainer.utils.files import replacing

log = logging.getLogger("facetrainer")
COLUMNS = ("track", "person", "from_s", "to_s", "cosine", "nearest")


def open_video(source: str) -> tuple[cv2.VideoCapture, float, int]:
    """A file, an address, or a camera by its number.

    Args:
        source: Path, address, or "0", "1", ...

    Returns:
        The open video, frames a second, and how many frames it says it has (0 where nobody knows).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be opened, or no frame of it can be read.
    """
    camera = source.isdecimal()
    if not camera and "://" not in source and not os.path.isfile(source):
        raise FileNotFoundError(
            f"{source!r} does not exist. Expected a video file, an address, or the number of a camera."
        )
    video = cv2.VideoCapture(int(source) if camera else source)
    if not video.isOpened():
        what = "there is no such camera" if camera else "damaged, or of a format that OpenCV does not read"
        raise ValueError(f"{source} cannot be opened as a video: {what}.")
    speed, count = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
    return video, speed if 0 < speed < 1000 else 25.0, 0 if camera else max(int(count), 0)


def frames(source: str, opened: tuple[cv2.VideoCapture, float, int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a video with a progress bar.

    Args:
        source: See `open_video`.
        opened: What that gave, where it was called already: a camera opens once.

    Yields:
        Number and RGB uint8 picture. A file that breaks off is told in the log.

    Raises:
        ValueError: Not one frame can be read.
    """
    video, _, count = opened or open_video(source)
    number = 0
    try:
        with tqdm(total=count or None, desc="frames", disable=None) as bar:
            while True:
                there, picture = video.read()
                if not there:
                    break
                yield number, np.ascontiguousarray(picture[..., ::-1])
                number += 1
                bar.update()
    finally:
        video.release()
    if not number:
        raise ValueError(f"{source}: no frame can be read: damaged, or of a format that OpenCV does not read.")
    if number < 0.98 * count:
        log.warning("%s breaks off after %d of %d frames", source, number, count)


def watch(
    gallery: Gallery,
    source: str,
    drawn: Callable | None = None,
    video: str | None = None,
    every: int = 1,
    most: int = 0,
) -> tuple[list[Track], float]:
    """Follows the faces of a video.

    Args:
        gallery: Who is known.
        source: See `open_video`.
        drawn: Function of a picture and the tracks on it → picture, for `video`.
        video: `.mp4` or `.avi` file to write; it appears when it is whole. Defaults to none.
        every: Faces are looked for in each so-manieth frame; boxes stay in between. Defaults to `1`.
        most: Frames after which to stop, as for a camera. Defaults to `0`: at the end.

    Returns:
        The tracks, and frames a second.
    """
    opened = open_video(source)
    speed = opened[1]
    tracker, seen, writer = Tracker(gallery, patience=max(int(speed), 1) * 2), [], None
    with replacing(video) if video else contextlib.nullcontext() as part:
        try:
            for number, picture in frames(source, opened):
                if number % every == 0:
                    seen = tracker.see(number, gallery.reader.one(picture).faces)
                if video:
                    writer = writer or _writer(part, speed, picture)
                    writer.write(np.ascontiguousarray(drawn(picture, seen)[..., ::-1]))
                if most and number + 1 >= most:
                    break
        except KeyboardInterrupt:  # the usual end of a camera's
            log.info("stopped; what was seen until now is kept")
        finally:
            if writer:
                writer.release()
    return tracker.all(), speed


def _writer(path, speed, picture):
    code = cv2.VideoWriter_fourcc(*("MJPG" if path.endswith(".avi") else "mp4v"))
    writer = cv2.VideoWriter(path, code, speed, picture.shape[1::-1])
    if not writer.isOpened():
        raise ValueError(f"{path} cannot be written: expected a name ending in .mp4 or .avi.")
    return writer


def write_seen(path: str, tracks: list[Track], speed: float) -> None:
    """Who was seen when, as csv: a line a track.

    Args:
        path: File to write.
        tracks: From `watch`.
        speed: Frames a second.
    """
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in tracks:
            seconds = (round(one.first / speed, 2), round((one.last + 1) / speed, 2))
            writer.writerow([one.number, one.person or "unknown", *seconds, round(one.cosine, 3), one.nearest])
