"""Photos of any size → crops that a model was trained on, by several processes."""

import functools
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from tqdm import tqdm

from facetrainer.data import sources
from facetrainer.data.alignment import Layout
from facetrainer.data.images import decode, encode
from facetrainer.io import lists
from facetrainer.preparing import target
from facetrainer.preparing.report import Report
from facetrainer.recognition.detect import Detected, detector, read_landmarks, together

JOURNAL, PIECE = ".aligned.jsonl", 16
COLUMNS = [
    f"{point}_{axis}" for point in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right") for axis in "xy"
]


def align(
    path: str, dest: str, layout: Layout, find: str = "mtcnn", which: str = "largest", min_face: int = 40, max_side: int = 1024,
    workers: int = 1,
) -> Report:  # fmt: skip
    """Photos at `path` → `dest`/person/photo.jpg, and `dest`/landmarks.csv → Report.

    `find`: a detector's name or file, or a .csv of landmarks by file below `path`. `which`: "largest", "central" or "all" faces of a photo.
    Photos without a face are left out and named. A run that was broken off goes on.

    Returns:
        Counts, and a row for each photo that was left out.
    """
    source, report = begun(path, dest, find, which, min_face, max_side)
    with target.folder(dest, **task_of(path, source, layout, find, which, min_face, max_side)) as part:
        journal = os.path.join(part, JOURNAL)
        done = crops(source, path, part, journal, range(len(source)), layout, find, which, min_face, max_side, workers)
        summary([done[i] for i in sorted(done)], part, report)
        os.remove(journal)
    return report.finish(dest)


def begun(path: str, dest: str, find: str, which: str, min_face: int, max_side: int) -> tuple[sources.Source, Report]:
    """The photos and an empty report, once everything is looked at that may be wrong; arguments as of `align`."""
    target.refuse_inside(dest, path)
    source = sources.open_source(path)
    finder(path, find, which, min_face, max_side)  # what is wrong with it is said here, not by every process
    if find.endswith(".csv"):
        _check_marks(find, path, source)
    return source, Report("align", path, dest)


def task_of(path, source, layout, find, which, min_face, max_side) -> dict:
    """What is done, for the target's stamp; arguments as of `align`."""
    options = {"find": find, "which": which, "min_face": min_face, "max_side": max_side}
    return {"align": str(path), "images": len(source), "layout": dataclass_text(layout), **options}


def crops(source, path, part, journal, images, layout, find, which, min_face, max_side, workers) -> dict[int, dict]:
    """Aligns photos that the journal does not have yet → rows of all that it has then, by number of the photo.

    Args:
        source: The photos.
        path: Where they come from.
        part: Folder to write to.
        journal: File of a row for each photo that is done.
        images: Numbers of the photos.
        layout: As of `align`, and so are those that follow.
        find: The detector.
        which: Faces of a photo.
        min_face: Pixels.
        max_side: Pixels.
        workers: Processes.

    Returns:
        Rows by number of the photo.
    """
    done = rows_of(journal)
    listed = source if source.are_files else path  # files are listed once: all processes number them alike
    begin = functools.partial(_begin, listed, path, part, layout, find, which, min_face, max_side)
    with open(journal, "a", encoding="utf-8") as file:
        for rows in _pieces(begin, [i for i in images if i not in done], workers):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            done |= {row["i"]: row for row in rows}
    return done


def _check_marks(marks, path, source):
    """A list that fits no photo is another set's, or lies elsewhere."""
    table = read_landmarks(marks)
    names = (os.path.normpath(os.path.relpath(source.name(i), path)) for i in range(len(source)))
    if not any(name in table for name in names):
        raise ValueError(
            f"{marks} names {len(table)} files, and none of the {len(source)} photos below {path}: the list begins with "
            f"{next(iter(table), 'nothing')!r}, the photos with {os.path.relpath(source.name(0), path)!r}. "
            "Paths are those below the folder."
        )


def dataclass_text(layout: Layout) -> str:
    """A layout's values, for the journal."""
    return (
        f"{layout.height}x{layout.width}, margin {layout.margin}, {'box' if layout.template is None else 'five points'}"
    )


def rows_of(journal: str) -> dict[int, dict]:
    """Rows of a journal, by number of the photo; a line that was cut off is no row."""
    if not os.path.exists(journal):
        return {}
    with open(journal, encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("}\n")]
    with open(journal, "w", encoding="utf-8") as file:
        file.writelines(lines)
    return {row["i"]: row for row in map(json.loads, lines)}


def _pieces(begin, indices, workers):
    """Rows of each piece of indices, in this process or in several, with a progress bar."""
    pieces = [indices[k : k + PIECE] for k in range(0, len(indices), PIECE)]
    with tqdm(total=len(indices), desc="photos", disable=None) as bar:
        if workers <= 1:
            begin()
            for piece in pieces:
                yield _align_piece(piece)
                bar.update(len(piece))
            return
        spawned = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
        with ProcessPoolExecutor(min(workers, len(pieces) or 1), spawned, begin) as pool:
            for rows in pool.map(_align_piece, pieces):
                yield rows
                bar.update(len(rows))


class _Worker:
    """What a process holds: the photos, a detector, and where crops go."""

    def __init__(self, listed, path, part, layout, find, which, min_face, max_side):
        self.source = sources.open_source(listed) if isinstance(listed, str) else listed
        self.layout, self.which, self.stems = layout, which, _stems(self.source)
        self.people = [os.path.join(part, name) for name in target.safe_names(self.source.class_names)]
        self.faces = finder(path, find, which, min_face, max_side)

    def __call__(self, indices):
        rows = {}
        for photos in together(self._decoded(indices, rows)):
            found = self.faces([image for _, image in photos], [self.source.name(i) for i, _ in photos])
            rows |= {i: self._row(i, image, faces) for (i, image), faces in zip(photos, found, strict=True)}
        return [rows[i] for i in indices]

    def _decoded(self, indices, rows):
        """Photos that can be read; the others' rows go to `rows`."""
        for i in indices:
            try:
                yield i, decode(self.source.read(i))
            except (ValueError, OSError) as error:
                rows[i] = {"i": i, "file": self.source.name(i), "error": str(error)}

    def _row(self, i, image, faces):
        about = {"i": i, "file": self.source.name(i)}
        try:
            if isinstance(faces, ValueError):
                raise faces
            if not len(faces):
                raise ValueError("no face found")
            return {**about, "crops": [self.crop(i, image, faces, k) for k in range(len(faces))]}
        except (ValueError, OSError) as error:
            return {**about, "error": str(error)}

    def crop(self, i, image, faces, k):
        """Writes face k → its row: path below the target, score, landmarks."""
        box = None if np.isnan(faces.boxes[k]).any() else faces.boxes[k]
        crop = self.layout.crop(image, faces.landmarks[k].astype(np.float64), box)
        name = f"{self.stems[i]}_{k}.jpg" if self.which == "all" else f"{self.stems[i]}.jpg"
        path = os.path.join(self.people[self.source.labels[i]], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        target.write_file(path, encode(crop))
        return {"path": path, "score": float(faces.scores[k]), "points": faces.landmarks[k].ravel().round(1).tolist()}


def _stems(source):
    """Name of each image's crop without .jpg, each once for a person: photo.png becomes photo.png.jpg, since there may be a photo.jpg."""
    if not source.are_files:
        return [f"{i:08d}" for i in range(len(source))]
    stems, taken = [], set()
    for i, person in enumerate(source.labels.tolist()):
        stem = os.path.basename(source.name(i)).removesuffix(".jpg")
        stem = stem if (person, stem.lower()) not in taken else f"{stem}_{i:08d}"
        taken.add((person, stem.lower()))
        stems.append(stem)
    return stems


def finder(
    path: str, find: str, which: str, min_face: int, max_side: int
) -> Callable[[list[np.ndarray], list[str]], list]:
    """→ function of photos and their names: the faces to crop of each, by a detector or a csv; ValueError where that has none."""
    if find.endswith(".csv"):
        table = read_landmarks(find)
        return lambda images, names: [_marked(table, find, os.path.normpath(os.path.relpath(n, path))) for n in names]
    detect = detector(find, min_face, max_side)
    pick = {
        "largest": lambda found, shape: found.largest(),
        "central": Detected.central,
        "all": lambda found, shape: found,
    }[which]
    return lambda images, names: [
        pick(found, image.shape[:2]) for found, image in zip(detect.batch(images), images, strict=True)
    ]


def _marked(table, find, name):
    if name not in table:
        return ValueError(f"{find} has no line for {name}")
    return Detected(np.full((1, 4), np.nan), np.ones(1), table[name][None])


_worker: _Worker | None = None


def _begin(*arguments):
    global _worker
    _worker = _Worker(*arguments)


def _align_piece(indices):
    return _worker(indices)


def summary(rows: list[dict], part: str, report: Report) -> None:
    """landmarks.csv of the crops' photos; photos without a crop into the report."""
    crops = [(row["file"], crop) for row in rows for crop in row.get("crops", ())]
    lists.write_table(
        os.path.join(part, "landmarks.csv"), ["crop", "photo", "score", *COLUMNS],
        [[os.path.relpath(crop["path"], part), photo, round(crop["score"], 4), *crop["points"]] for photo, crop in crops],
    )  # fmt: skip
    for row in rows:
        if "error" in row:
            report.skip(row["file"], row["error"])
    report.counts = {"photos": len(rows), "aligned": len({photo for photo, _ in crops}), "crops": len(crops)}
