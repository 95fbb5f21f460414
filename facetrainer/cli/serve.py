"""A gallery as a web page: who is on a photo, two photos compared, people enrolled and corrected, albums sorted.

  facetrainer serve --gallery people --model face.tflite        then open http://127.0.0.1:8000
  facetrainer serve --gallery people --host 0.0.0.0 --token SECRET

The same as JSON, documented in /openapi.json. Nothing of an upload is kept but the embeddings of those who are enrolled; --keep keeps their
photos. It answers this machine alone; with any other --host every request needs a token. Put a proxy with TLS in front of it then.
"""

from __future__ import annotations

import argparse
import os
import secrets

from facetrainer.cli import run
from facetrainer.utils.lazy import later
from facetrainer.utils.optional import need

recognition = later("facetrainer.recognition")
guard, serving = later("facetrainer.serving.guard"), later("facetrainer.serving.app")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("serve", __doc__)
    main.add_argument("--gallery", required=True, help="folder, made where it is missing")
    main.add_argument("-m", "--model", help="model file of any format (FACE_MODEL, else the last run's best)")
    main.add_argument(
        "--detector", default="mtcnn", help="mtcnn, an .onnx file of YuNet, SCRFD, RetinaFace or YOLO-face, or aligned"
    )
    main.add_argument("--min-face", type=int, default=40, metavar="PIXELS", help="smallest faces to look for (40)")
    main.add_argument("--far", type=float, default=0.01, help="how often a stranger may be named (0.01)")
    main.add_argument("--threshold", type=float, help="least cosine, in place of the rate")
    main.add_argument("--host", default="127.0.0.1")
    main.add_argument("--port", type=int, default=8000)
    main.add_argument("--token", help="that every request has to bring; made up for a --host that others reach")
    main.add_argument("--keep", metavar="FOLDER", help="keep the photos of those who are enrolled there")
    main.add_argument("--max-bytes", type=int, default=20_000_000, help="of a request (20 million)")
    main.add_argument("--max-pixels", type=int, default=25_000_000, help="of a photo (25 million)")
    main.add_argument("--rate", type=float, default=50, help="requests a second of one address (50)")
    run.add_trusted(main)
    return main


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; exit codes of `run.call`."""
    return run.call(parser(), _run, argv)


def _run(a):
    uvicorn = need("uvicorn", '"face-trainer[serve]"', "facetrainer serve")
    need("fastapi", '"face-trainer[serve]"', "facetrainer serve")
    need("python_multipart", '"face-trainer[serve]"', "facetrainer serve")
    os.environ["FACE_MAX_PIXELS"] = str(a.max_pixels)
    limits = limits_of(a)
    reader = recognition.FaceReader(recognition.RecognitionModel(a.model, trusted=a.trusted), a.detector, a.min_face)
    gallery = recognition.Gallery(reader, a.gallery, a.far, a.threshold)
    print(
        f"{len(gallery)} people; http://{a.host}:{a.port}" + (f"; token {limits.token}" if limits.token else ""),
        flush=True,
    )
    uvicorn.run(
        serving.make_app(gallery, limits, a.keep), host=a.host, port=a.port, log_level="warning", server_header=False
    )


def limits_of(a: argparse.Namespace) -> object:
    """What a client may ask for: on this machine's own address by its names alone, elsewhere with a token."""
    local = a.host in guard.LOOPBACK
    token = a.token or (None if local else secrets.token_urlsafe(24))
    return guard.Limits(a.max_bytes, a.rate, guard.LOOPBACK if local else (), token)
