"""Faces drawn small and once; real data where FACE_DATA names it."""

import gc
import importlib.metadata
import os


def compile_quickly():
    """Programs that run for a moment: most of what JAX's tests take is compiling. XLA dies of a flag that it does not know."""
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    try:
        known = importlib.metadata.version("jaxlib").startswith(("0.7.", "0.8.", "0.9.", "0.10."))
    except importlib.metadata.PackageNotFoundError:
        return
    if known:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
compile_quickly()

import cv2
import numpy as np
import pytest

from facetrainer.data import synthetic as draw
from facetrainer.io import evalbin, recordio


def pytest_collection_modifyitems(items):
    if os.environ.get("FACE_DATA"):
        return
    for item in items:
        if "real" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=f"FACE_DATA is not set: {item.name} needs real data"))


def pytest_collection_finish():
    """A stage collects what it leaves behind: not among all that TensorFlow, JAX and Keras have imported, each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real():
    return os.environ["FACE_DATA"]


@pytest.fixture(scope="session")
def people():
    """8 people × 6 JPEGs."""
    return draw.people(8, 6, seed=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, people):
    """The same people as folders; images of several types and depths."""
    root = tmp_path_factory.mktemp("folder")
    for number, images in enumerate(people):
        home = root / ("deep" if number % 2 else ".") / f"p{number}"
        home.mkdir(parents=True)
        for i, image in enumerate(images):
            pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
            cv2.imwrite(str(home / f"{i}.{'png' if i == 0 else 'jpg'}"), pixels)
    return str(root)


@pytest.fixture(scope="session")
def record(tmp_path_factory, people):
    """The same people as an InsightFace directory."""
    root = tmp_path_factory.mktemp("record")
    recordio.write_faces(str(root / "train"), people)
    return str(root)


@pytest.fixture(scope="session")
def bin_file(tmp_path_factory):
    """20 pairs of people that no training set holds."""
    path = tmp_path_factory.mktemp("bins") / "drawn.bin"
    others = draw.people(6, 4, seed=2)
    chosen = draw.pairs(6, 4, 2, seed=3, pairs_a_fold=5)
    images = [image for p, a, q, b in chosen for image in (others[p][a], others[q][b])]
    evalbin.write_bin(str(path), images, [p == q for p, _, q, _ in chosen])
    return str(path)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Runs write to checkpoints/ below the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
