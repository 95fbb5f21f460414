"""Pictures of who was found: boxes with names, and the page of an album."""

import base64
import html
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from facetrainer.data.images import encode, sheet
from facetrainer.recognition.gallery import Match
from facetrainer.recognition.tracking import Track
from facetrainer.utils.fonts import font

KNOWN, UNKNOWN = (30, 140, 60), (200, 60, 40)


def drawn(picture: np.ndarray, boxes: Sequence, names: Sequence[str], known: Sequence[bool]) -> np.ndarray:
    """A picture with boxes and names.

    Args:
        picture: RGB uint8 `(height, width, 3)`.
        boxes: `(n, 4)` x1 y1 x2 y2.
        names: What to write at each.
        known: Whether it is green, or red.

    Returns:
        A new picture.
    """
    image = Image.fromarray(picture)
    draw, size = ImageDraw.Draw(image), max(round(min(picture.shape[:2]) / 28), 11)
    for box, name, sure in zip(boxes, names, known, strict=True):
        colour, room = KNOWN if sure else UNKNOWN, picture.shape[1] - draw.textlength(name, font(size))
        corner = (max(min(float(box[0]), room), 0), max(float(box[1]) - size * 1.35, 0))
        draw.rectangle([float(side) for side in box], outline=colour, width=max(size // 6, 2))
        draw.rectangle(draw.textbbox(corner, name, font(size)), fill=colour)
        draw.text(corner, name, (255, 255, 255), font(size))
    return np.asarray(image)


def matched(picture: np.ndarray, matches: list[Match]) -> np.ndarray:
    """A photo with the name, or "unknown", and the cosine at each face."""
    names = [f"{one.person or 'unknown'} {one.nearest[0][1]:.2f}" if one.nearest else "unknown" for one in matches]
    return drawn(picture, [one.face.box for one in matches], names, [one.person is not None for one in matches])


def tracked(picture: np.ndarray, tracks: list[Track]) -> np.ndarray:
    """A frame of a video with the names of its tracks."""
    names = [one.person or f"unknown {one.number}" for one in tracks]
    return drawn(picture, [one.box for one in tracks], names, [one.person is not None for one in tracks])


STYLE = """body{font:15px system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
h2{margin:1.6em 0 .3em;font-size:1.1em}img{max-width:100%;image-rendering:auto}p{color:#555;margin:.2em 0}
ul{columns:3;font-size:.85em;padding-left:1.2em;overflow-wrap:anywhere}"""


def album_page(path: str, groups: list[tuple[str, list[np.ndarray], list[str]]], about: str) -> None:
    """Writes an album's page.

    Args:
        path: `.html` file in the album's folder.
        groups: Name, faces and photos (paths below the album's folder) of each person.
        about: A line for the top.
    """
    parts = [f"<h1>Album</h1><p>{html.escape(about)}</p>"]
    for name, crops, photos in groups:
        picture = base64.b64encode(encode(sheet(crops[:60], min(len(crops), 10), (100, 100)), quality=85)).decode()
        links = "".join(
            f"<li><a href='{_link(photo)}'>{html.escape(os.path.basename(photo))}</a></li>" for photo in photos
        )
        parts.append(
            f"<h2 id='{html.escape(name, quote=True)}'>{html.escape(name)}</h2><p>{len(photos)} photos</p>"
            f"<img alt='faces of {html.escape(name, quote=True)}' src='data:image/jpeg;base64,{picture}'><ul>{links}</ul>"
        )
    page = f"<!doctype html><meta charset=utf-8><title>Album</title><style>{STYLE}</style>{''.join(parts)}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


def _link(path):
    from urllib.parse import quote

    return quote(path.replace(os.sep, "/"))
