"""Faces that nobody has: identities drawn from parameters, so that everything here runs without a data set.

An identity fixes the shape of the head, features, skin and hair; pose, light, expression, occlusion, blur and noise vary from
image to image. The numbers that such faces give say nothing about real ones.
"""

import concurrent.futures
import dataclasses
import logging
import os
import shutil

import cv2
import numpy as np
from tqdm import tqdm

from facetrainer.io import cached, recordio

log = logging.getLogger("facetrainer")

SIZE = 112
CANVAS = 2 * SIZE  # drawn at twice the size and shrunk: smooth edges
VERSION = 6


@dataclasses.dataclass(frozen=True)
class Identity:
    """What stays the same in every image of a person; lengths in parts of the canvas."""

    head: tuple[float, float]
    jaw: float
    skin: np.ndarray
    hair: np.ndarray
    hairline: float
    hair_length: float
    eye_gap: float
    eye_size: tuple[float, float]
    eye_height: float
    iris: np.ndarray
    brow: tuple[float, float, float]
    nose: tuple[float, float]
    mouth: tuple[float, float, float]
    lips: np.ndarray
    ears: float
    beard: float
    mole: tuple[float, float]


def identity(rng: np.random.Generator) -> Identity:
    """A new person."""
    u = rng.uniform
    tone = u(0.35, 1.0)
    skin = np.array([225, 180, 150]) * tone + u(-25, 25, 3)
    return Identity(
        head=(u(0.22, 0.35), u(0.32, 0.44)),
        jaw=u(1.7, 3.2),
        skin=skin,
        hair=np.array([100, 75, 60]) * u(0.2, 2.0) + u(-50, 50, 3),
        hairline=u(0.05, 0.24),
        hair_length=u(0.0, 0.9),
        eye_gap=u(0.08, 0.16),
        eye_size=(u(0.035, 0.06), u(0.016, 0.034)),
        eye_height=u(-0.09, 0.0),
        iris=np.array([[60, 40, 25], [70, 100, 130], [70, 110, 70], [110, 90, 50]])[rng.integers(4)],
        brow=(u(0.04, 0.095), u(0.006, 0.032), u(-0.35, 0.35)),
        nose=(u(0.08, 0.19), u(0.02, 0.07)),
        mouth=(u(0.045, 0.125), u(0.17, 0.26), u(0.008, 0.032)),
        lips=skin * np.array([0.85, 0.55, 0.55]) + u(-15, 15, 3),
        ears=u(0.03, 0.07),
        beard=max(u(-0.8, 0.9), 0.0),
        mole=(u(-0.2, 0.2), u(-0.05, 0.25)),
    )


class Sketch:
    """A canvas in face coordinates: (0, 0) the middle of the head, x right, y down, moved by the pose."""

    def __init__(self, person, rng):
        self.rng, self.person = rng, person
        self.yaw, self.pitch = rng.normal(0, 0.035), rng.normal(0, 0.025)
        self.image = np.empty((CANVAS, CANVAS, 3), np.uint8)
        self.image[:] = rng.integers(0, 256, 3)

    def at(self, x, y, depth=1.0):
        """Point in pixels; what stands out of the face moves further when the head turns."""
        return round((0.5 + x + self.yaw * depth) * CANVAS), round((0.5 + y + self.pitch * depth) * CANVAS)

    def ellipse(self, x, y, width, height, colour, depth=1.0, angle=0.0, start=0, end=360, thickness=-1):
        """Draws an ellipse; center and axes are parts of the side."""
        axes = max(round(width * CANVAS), 1), max(round(height * CANVAS), 1)
        cv2.ellipse(self.image, self.at(x, y, depth), axes, angle, start, end, _bgr(colour), thickness, cv2.LINE_AA)

    def polygon(self, points, colour, depth=1.0):
        """Fills a polygon; points are parts of the side."""
        cv2.fillPoly(self.image, [np.array([self.at(x, y, depth) for x, y in points])], _bgr(colour), cv2.LINE_AA)


def _bgr(colour):
    return tuple(float(c) for c in np.clip(colour, 0, 255))


def _head_outline(person, grow=1.0):
    """Superellipse whose lower half is as square as the jaw."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    cosine, sine = np.cos(angles), np.sin(angles)
    power = np.where(sine > 0, person.jaw, 2.0)
    x = np.sign(cosine) * np.abs(cosine) ** (2 / power) * person.head[0] * grow
    y = np.sign(sine) * np.abs(sine) ** (2 / power) * person.head[1] * grow
    return np.stack([x, y], 1)


def _background(sketch):
    for _ in range(sketch.rng.integers(2, 6)):
        x, y, w, h = sketch.rng.uniform(0, CANVAS, 4).astype(int)
        cv2.rectangle(sketch.image, (x, y), (x + w, y + h), _bgr(sketch.rng.uniform(0, 255, 3)), -1)


def _hair_and_head(sketch):
    person, (w, h) = sketch.person, sketch.person.head
    sketch.polygon(_head_outline(person, 1.12) - [0, 0.03], person.hair, 0.5)
    length = person.hair_length * h
    sketch.polygon(
        [(-w * 1.1, -h * 0.3), (w * 1.1, -h * 0.3), (w * 1.15, length), (-w * 1.15, length)], person.hair, 0.4
    )
    for side in (-1, 1):
        sketch.ellipse(side * w, 0.0, person.ears, person.ears * 1.6, person.skin * 0.9, 0.4)
    sketch.polygon(_head_outline(person), person.skin, 0.8)
    fringe = [p for p in _head_outline(person, 1.02) if p[1] < -h + person.hairline + 0.02]
    if len(fringe) > 2:
        sketch.polygon(fringe, person.hair, 0.8)
    if person.beard:
        beard = [(x, y) for x, y in _head_outline(person, 0.99) if y > h * (0.75 - 0.55 * person.beard)]
        sketch.polygon(beard, person.skin * 0.4 + person.hair * 0.6, 0.85)


def _eyes(sketch, openness, raised):
    person = sketch.person
    width, height = person.eye_size
    for side in (-1, 1):
        x, y = side * person.eye_gap, person.eye_height
        sketch.ellipse(x, y, width, height * openness, (235, 235, 230))
        iris = min(height, height * openness) * 0.95
        sketch.ellipse(x + sketch.yaw * 0.2, y, iris, iris, person.iris)
        sketch.ellipse(x + sketch.yaw * 0.2, y, iris * 0.4, iris * 0.4, (10, 10, 10))
        length, thick, slope = person.brow
        tilt = np.degrees(slope) * side
        sketch.ellipse(x, y - height - 0.035 - raised, length, thick, person.hair * 0.8, angle=tilt)


def _nose_and_mouth(sketch, smile, opened):
    person = sketch.person
    length, width = person.nose
    top = person.eye_height
    sketch.polygon([(0, top + 0.01), (width, top + length), (-width, top + length)], person.skin * 0.86, 1.5)
    for side in (-1, 1):
        sketch.ellipse(side * width * 0.55, top + length, width * 0.3, 0.007, person.skin * 0.45, 1.5)
    half, y, lip = person.mouth
    half = half * (1 + 0.25 * smile)
    if opened > 0.25:
        sketch.ellipse(0, y, half * 0.85, lip + opened * 0.03, (60, 25, 25), 1.1)
    bend = lip + abs(smile) * 0.02
    sketch.ellipse(
        0, y - smile * 0.012, half, bend, person.lips, 1.1, start=0 if smile > 0 else 180, end=180 if smile > 0 else 360
    )
    sketch.ellipse(0, y, half, lip * 0.6, person.lips, 1.1)
    sketch.ellipse(*person.mole, 0.008, 0.008, person.skin * 0.35)


def _occlude(sketch):
    """Dark glasses, a hand or a scarf over some images."""
    kind, person = sketch.rng.random(), sketch.person
    if kind < 0.04:
        for side in (-1, 1):
            sketch.ellipse(side * person.eye_gap, person.eye_height, 0.075, 0.05, (25, 25, 30), 1.2)
    elif kind < 0.1:
        x, y = sketch.rng.uniform(-0.3, 0.3), sketch.rng.uniform(-0.2, 0.35)
        sketch.ellipse(
            x, y, *sketch.rng.uniform(0.05, 0.14, 2), sketch.rng.uniform(0, 255, 3), angle=sketch.rng.uniform(0, 180)
        )


def _light(image, rng):
    """Brightness rising in one direction, colour of the lamp, gamma."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    slope = 1 + strength * (np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None])
    lamp = rng.uniform(0.75, 1.12) * rng.uniform(0.92, 1.08, 3)
    lit = np.clip(image * slope[..., None].astype(np.float32) * (lamp / 255).astype(np.float32), 0, 1)
    return 255 * cv2.pow(lit, np.exp(rng.uniform(-0.2, 0.2)))


def face(person: Identity, rng: np.random.Generator) -> np.ndarray:
    """One image of a person: RGB uint8 (112, 112, 3)."""
    sketch = Sketch(person, rng)
    _background(sketch)
    _hair_and_head(sketch)
    _eyes(sketch, rng.uniform(0.4, 1.1), rng.uniform(-0.005, 0.025))
    _nose_and_mouth(sketch, rng.uniform(-0.6, 1.0), rng.uniform(0, 1))
    _occlude(sketch)
    turn = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), rng.normal(0, 5), rng.uniform(0.92, 1.12))
    image = cv2.warpAffine(sketch.image, turn, (CANVAS, CANVAS), borderMode=cv2.BORDER_REPLICATE)
    image = _light(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32), rng)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 5))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------ a data set

FOLDS = 10


def people(count: int, images: int, seed: int) -> list[list[bytes]]:
    """`images` JPEGs of each of `count` new people."""

    def draw(number):
        rng = np.random.default_rng((seed, number))
        person = identity(rng)
        return [jpeg(face(person, rng)) for _ in range(images)]

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(tqdm(pool.map(draw, range(count)), "drawing people", count, disable=None))


def jpeg(image: np.ndarray) -> bytes:
    """RGB uint8 → JPEG of quality 95."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def pairs(count: int, images: int, folds: int, seed: int, pairs_a_fold: int = 20) -> list[tuple[int, int, int, int]]:
    """(person, image, person, image) for a pairs file: half same, half different, in folds of disjoint people."""
    rng, found = np.random.default_rng(seed), []
    for group in np.array_split(np.arange(count), folds):
        for _ in range(pairs_a_fold):
            a, b = rng.choice(images, 2, replace=False)
            p, q = rng.choice(group, 2, replace=False)
            found += [(p, a, p, b), (p, rng.integers(images), q, rng.integers(images))]
    return found


def folder(root: str, count: int, images: int, seed: int, folds: int = FOLDS) -> str:
    """People as folders `person/0.jpg` with a pairs.txt: what evaluation reads → root."""
    for number, mine in enumerate(people(count, images, seed)):
        os.makedirs(os.path.join(root, f"person_{number:03d}"))
        for i, image in enumerate(mine):
            with open(os.path.join(root, f"person_{number:03d}", f"{i}.jpg"), "wb") as file:
                file.write(image)
    with open(os.path.join(root, "pairs.txt"), "w") as file:
        for p, a, q, b in pairs(count, images, folds, seed):
            file.write(f"person_{p:03d}/{a}.jpg person_{q:03d}/{b}.jpg {int(p == q)}\n")
    return root


def dataset(train_people: int = 400, held_out_people: int = 100, images: int = 10, seed: int = 0) -> tuple[str, str]:
    """Draws a data set, once: it is kept in `FACE_CACHE`, or in the user's cache folder.

    Args:
        train_people: To train on. Defaults to `400`.
        held_out_people: Others, to measure on. Defaults to `100`.
        images: Of each. Defaults to `10`.
        seed: Of all draws. Defaults to `0`.

    Returns:
        Folder with train.rec; folder of the held-out people with pairs.txt.

    Raises:
        ValueError: There are too few people or images to train on or for ten folds of different people.
    """
    if train_people < 2 or held_out_people < 2 * FOLDS or images < 2:
        raise ValueError(
            f"draw.dataset: expected 2 people or more to train on, {2 * FOLDS} or more held out (two for each of {FOLDS} folds), and "
            f"2 images or more of each. Received: {train_people}, {held_out_people}, {images}"
        )
    root = os.path.join(cached.folder(), f"drawn_v{VERSION}_{train_people}_{held_out_people}_{images}_{seed}")
    if not os.path.isdir(root):
        part = f"{root}.part{os.getpid()}"
        os.makedirs(os.path.join(part, "train"))
        log.info("drawing %d people into %s", train_people + held_out_people, root)
        recordio.write_faces(os.path.join(part, "train", "train"), people(train_people, images, seed))
        folder(os.path.join(part, "held_out"), held_out_people, images, seed + 1)
        _publish(part, root)
    return os.path.join(root, "train"), os.path.join(root, "held_out")


def _publish(part, root):
    try:
        os.rename(part, root)
    except OSError:  # another process was faster
        shutil.rmtree(part)
