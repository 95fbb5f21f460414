"""Who is it? Two photos, a gallery of people, videos, unsorted albums.

  facetrainer recognize verify a.jpg b.jpg --model face.tflite
  facetrainer recognize enrol people photos/                 one folder a person; --name Ann for photos of one
  facetrainer recognize identify people photo.jpg            or a folder
  facetrainer recognize video people film.mp4 --video out.mp4 --csv seen.csv
  facetrainer recognize cluster photos/ sorted/

The model is --model, FACE_MODEL, or the best one of the last run in checkpoints/. Thresholds are those of MODEL_thresholds.json, which
facetrainer evaluate --calibrate writes; without it a gallery of ten people and more tells its own. A stranger is named in one search of a
hundred (--far).
"""

from __future__ import annotations

import argparse
import os
import shutil
import time

from facetrainer.cli import run
from facetrainer.utils import files
from facetrainer.utils.lazy import later

recognition, reading = later("facetrainer.recognition"), later("facetrainer.recognition.reader")
video, album = later("facetrainer.recognition.video"), later("facetrainer.recognition.album")
limits, target = later("facetrainer.recognition.threshold"), later("facetrainer.preparing.target")
stores = later("facetrainer.recognition.stores")
pictures, images, np = later("facetrainer.reporting.faces"), later("facetrainer.data.images"), later("numpy")


JSON = {
    "identify": "every face, box, quality and its nearest people",
    "enrol": "counts, and every photo left out with its reason",
}


def parser() -> argparse.ArgumentParser:
    """The arguments of all actions."""
    main = run.describe("recognize", __doc__)
    commands = main.add_subparsers(dest="command", metavar="command", required=True)

    one = _command(commands, "verify", verify, "whether two photos are of one person")
    one.add_argument("first")
    one.add_argument("second")
    one.add_argument("--far", type=float, help="false-accept rate of the threshold (0.001)")

    one = _command(commands, "enrol", enrol, "put people in a gallery, by their photos")
    one.add_argument("gallery", help="folder, made by the first call; qdrant:FOLDER or qdrant:http://host:6333/name")
    one.add_argument("photos", help="folder with one folder a person; with --name a photo or a folder of one person")
    one.add_argument("--name", help="of the person on all photos")
    _add_quality(one)
    one.add_argument("--force", action="store_true", help="also photos that look like somebody else of that name")

    one = _command(commands, "identify", identify, "who is on photos")
    _add_gallery(one)
    one.add_argument("photos", help="photo or folder")
    one.add_argument("--draw", metavar="FOLDER", help="write the photos there with boxes and names")

    one = _command(commands, "video", film, "who is seen when in a video or by a camera")
    _add_gallery(one)
    one.add_argument("source", help="file, address, or number of a camera (0)")
    one.add_argument("--video", metavar="FILE", help="write it there with boxes and names: .mp4 or .avi")
    one.add_argument("--csv", default="seen.csv", help="who was seen from when to when (seen.csv)")
    one.add_argument("--every", type=int, default=1, metavar="N", help="look for faces in each Nth frame (1)")
    one.add_argument("--frames", type=int, default=0, help="stop after so many; else at the end, or with Ctrl-C")

    one = _command(commands, "watch", watch, "tell who is on each new photo in a folder, until Ctrl-C")
    _add_gallery(one)
    one.add_argument("folder")
    one.add_argument("--seconds", type=float, default=0, help="stop after so many")

    one = _command(commands, "cluster", cluster, "sort an album into one folder a person, with a page")
    one.add_argument("photos")
    one.add_argument("target", help="new folder; photos are copied")
    one.add_argument("--gallery", help="name the people who are in it")
    _add_quality(one)

    one = commands.add_parser("list", help="people of a gallery")
    one.add_argument("gallery")
    one.set_defaults(work=list_)

    one = _command(commands, "remove", remove, "forget a person")
    one.add_argument("gallery")
    one.add_argument("name")

    one = _command(commands, "rename", rename, "give a person another name, or make two people one")
    one.add_argument("gallery")
    one.add_argument("name")
    one.add_argument("new_name")
    for name, one in commands.choices.items():
        if name != "watch":
            run.add_json(one, JSON.get(name, "what is printed"))
    return main


def _command(commands, name, work, text):
    one = commands.add_parser(name, help=text)
    one.add_argument("-m", "--model", help="model file of any format (FACE_MODEL, else the last run's best)")
    one.add_argument(
        "--detector", default="mtcnn", help="mtcnn, an .onnx file of YuNet, SCRFD, RetinaFace or YOLO-face, or aligned"
    )
    one.add_argument("--min-face", type=int, default=40, metavar="PIXELS", help="smallest faces to look for (40)")
    one.add_argument("--threshold", type=float, help="least cosine, in place of the rate")
    run.add_trusted(one)
    one.set_defaults(work=work)
    return one


def _add_quality(one):
    help_ = "faces below are left out: size, sharpness, pose and length of the embedding, 0 to 1 (0.1)"
    one.add_argument("--min-quality", type=float, default=0.1, metavar="Q", help=help_)


def _add_gallery(one):
    one.add_argument("gallery")
    one.add_argument("--far", type=float, default=0.01, help="how often a stranger may be named (0.01)")


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), lambda a: a.work(a), argv)


def _reader(a, model=None):
    return recognition.FaceReader(
        recognition.RecognitionModel(a.model or model, trusted=a.trusted), a.detector, a.min_face
    )


def _gallery(a):
    """The gallery, by its own model where none is asked for and that file is still there."""
    header = recognition.Gallery.header_of(a.gallery)
    own = header["model"] if not os.environ.get("FACE_MODEL") and os.path.exists(header["model"]) else None
    return recognition.Gallery.load(a.gallery, _reader(a, own), far=getattr(a, "far", 0.01), threshold=a.threshold)


def verify(a) -> dict:
    """`verify`."""
    found = recognition.verify(a.first, a.second, _reader(a), far=a.far, threshold=a.threshold)
    answer = {True: "the same person", False: "not the same person", None: "not told"}[found.same]
    print(f"{answer}: cosine {found.cosine:.4f}; {found.threshold}")
    if found.probability is not None:
        low, high = found.interval
        print(
            f"likelihood ratio of one person {found.probability / (1 - found.probability):.3g}; probability {found.probability:.4f} "
            f"(95 % {low:.4f}–{high:.4f}) where both answers were alike likely before"
        )
    for name, face in zip((a.first, a.second), found.faces, strict=True):
        print(f"{name}: {face.quality.told()}")
    return {
        "same": found.same, "cosine": float(found.cosine), "threshold": str(found.threshold), "probability": found.probability,
        "95%": found.interval, "quality": [face.quality.value for face in found.faces],
    }  # fmt: skip


def enrol(a) -> dict:
    """`enrol`."""
    gallery = recognition.Gallery(_reader(a), a.gallery, threshold=a.threshold)
    found = gallery.enrol(a.photos, a.name, a.min_quality, a.force)
    print(
        f"{a.gallery}: {found.counts['photos']} photos of {found.counts['new people']} new people; {len(gallery)} people now"
    )
    if not len(gallery):
        raise ValueError(
            f"nobody was enrolled: {found.rows[0]['file']}: {found.rows[0]['reason']}" if found.rows else "no photo."
        )
    return {**found.as_dict(), "people": len(gallery)}


def identify(a) -> dict:
    """`identify`."""
    gallery, told = _gallery(a), []
    print(f"{len(gallery)} people; {gallery.threshold()}")
    for photo, matches in gallery.identify(a.photos):
        print(f"{photo.name}: {photo.error or '; '.join(map(str, matches)) or 'no face found'}")
        told.append({"photo": photo.name, "error": photo.error, "faces": [_as_json(one) for one in matches]})
        if a.draw and matches:
            _write(os.path.join(a.draw, _flat(photo.name, a.photos)), pictures.matched(_read(photo.name), matches))
    return {"gallery": a.gallery, "threshold": str(gallery.threshold()), "photos": told}


def _as_json(match):
    face = match.face
    return {"person": match.person, "nearest": [{"person": name, "cosine": round(cosine, 4)} for name, cosine in match.nearest],
            "box": [round(float(side), 1) for side in face.box], "quality": round(face.quality.value, 4)}  # fmt: skip


def _read(path):
    return images.decode(files.read_bytes(path))


def _flat(path, root):
    """One file name for a photo below a folder."""
    return (os.path.relpath(path, root) if os.path.isdir(root) else os.path.basename(path)).replace(
        os.sep, "__"
    ) + ".jpg"


def _write(path, picture):
    with files.replacing(path) as part, open(part, "wb") as file:
        file.write(images.encode(picture))


def film(a) -> dict:
    """`video`."""
    tracks, speed = video.watch(_gallery(a), a.source, pictures.tracked, a.video, a.every, a.frames)
    video.write_seen(a.csv, tracks, speed)
    for one in tracks:
        print(
            f"{one.first / speed:8.2f} s to {(one.last + 1) / speed:8.2f} s  {one.person or 'unknown'} (cosine {one.cosine:.3f})"
        )
    written = [name for name in (a.csv, a.video) if name]
    print("written:", *written)
    seen = [
        {"from": one.first / speed, "to": (one.last + 1) / speed, "person": one.person, "cosine": float(one.cosine)}
        for one in tracks
    ]
    return {"seen": seen, "files": written}


def watch(a) -> None:
    """`watch`: photos that are there already are told first."""
    gallery, seen, end = _gallery(a), set(), time.time() + a.seconds if a.seconds else float("inf")
    if not os.path.isdir(a.folder):
        raise FileNotFoundError(f"{a.folder!r} is no folder.")
    try:
        while time.time() < end:
            fresh = [path for path in _settled(a.folder) if path not in seen]
            seen.update(fresh)
            for photo, matches in gallery.identify([(path, path) for path in fresh]) if fresh else ():
                print(f"{photo.name}: {photo.error or '; '.join(map(str, matches)) or 'no face found'}", flush=True)
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("stopped")


def _settled(folder):
    """Photos that nobody has written to for a second."""
    found = [one for one in os.scandir(folder) if one.is_file() and one.name.lower().endswith(images.IMAGE_TYPES)]
    return sorted(one.path for one in found if time.time() - one.stat().st_mtime > 1)


def cluster(a) -> dict:
    """`cluster`."""
    reader = _gallery(a).reader if a.gallery else _reader(a)
    target.refuse_inside(a.target, a.photos)
    photos = list(reader.read([(path, path) for path in reading.photos_in(a.photos)]))
    faces = [(photo, face) for photo in photos for face in photo.faces if face.quality.value >= a.min_quality]
    if not faces:
        raise ValueError(f"{a.photos}: no face of quality {a.min_quality:g} or more on {len(photos)} photos.")
    value, basis = _threshold(a, reader.model, len(faces))
    labels = album.group(np.stack([face.embedding for _, face in faces]), value)
    about = f"{len(photos)} photos, {len(faces)} faces, {labels.max() + 1} people; {basis}"
    with target.folder(a.target, cluster=a.photos, threshold=value) as part:
        _write_album(part, faces, labels, _names(a, faces, labels), about, a.photos)
    print(about)
    shown = {photo.name for photo, _ in faces}
    for photo in photos:
        if photo.name not in shown:
            print(f"left out {photo.name}: {photo.error or 'no clear face'}")
    print(f"written: {a.target}, to look through {os.path.join(a.target, 'index.html')}")
    return {
        "photos": len(photos),
        "faces": len(faces),
        "people": int(labels.max()) + 1,
        "threshold": float(value),
        "target": a.target,
    }


def _threshold(a, model, faces):
    """Of an album: as if each face were looked for among all the others."""
    if a.threshold is not None:
        return a.threshold, f"threshold {a.threshold:g} as given"
    found = limits.of_search(model, recognition.open_store(None), 0.01, faces)
    if found.value is None:
        raise ValueError(found.basis)
    return found.value, found


def _names(a, faces, labels):
    """Folder of each group: the gallery's person, or a number; one for all who are on one photo alone."""
    names, sizes = {}, np.bincount(labels)
    for k in range(labels.max() + 1):
        names[k] = f"person_{k + 1:03d}" if sizes[k] > 1 else "single"
    if a.gallery:
        gallery, vectors = _gallery(a), np.stack([face.embedding for _, face in faces])
        qualities = np.array([face.quality.value for _, face in faces])
        for k in names:
            whole = stores.pooled(vectors[labels == k], qualities[labels == k])
            names[k] = gallery.name_of(gallery.nearest(whole[None], 1)[0]) or names[k]
    return names


def _write_album(home, faces, labels, names, about, root):
    groups: dict[str, list] = {}
    for (photo, face), label in zip(faces, labels, strict=True):
        groups.setdefault(names[label], []).append((photo, face))
    listed = []
    for name, folder in zip(groups, target.safe_names(list(groups)), strict=True):
        copies = {}
        for photo, _ in groups[name]:
            copies[photo.name] = os.path.join(folder, os.path.relpath(photo.name, root).replace(os.sep, "__"))
            os.makedirs(os.path.join(home, folder), exist_ok=True)
            shutil.copy2(photo.name, os.path.join(home, copies[photo.name]))
        listed.append((name, [face.crop for _, face in groups[name]], sorted(copies.values())))
    listed.sort(key=lambda one: (one[0] == "single", -len(one[1])))
    pictures.album_page(os.path.join(home, "index.html"), listed, about)


def list_(a) -> dict:
    """`list`: without the model."""
    header, people = recognition.Gallery.header_of(a.gallery), recognition.open_store(a.gallery).people()
    for person, photos in sorted(people.items()):
        print(f"{photos:4d}  {person}")
    print(f"{len(people)} people, {sum(people.values())} photos; model {header['model']}")
    return {"model": header["model"], "people": people}


def remove(a) -> dict:
    """`remove`."""
    photos = _gallery(a).remove(a.name)
    print(f"{a.name}: {photos} photos forgotten")
    return {"person": a.name, "photos": photos}


def rename(a) -> dict:
    """`rename`."""
    _gallery(a).rename(a.name, a.new_name)
    print(f"{a.name} is {a.new_name} now")
    return {"person": a.name, "now": a.new_name}
