"""Images that cannot be read, and augmentations that give no image: nothing of a run is lost."""

import os

import numpy as np
import pytest
from helpers import make, sgd

from facetrainer import data, losses
from facetrainer.data import pipeline

STAGE = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 2}


@pytest.fixture
def home(tmp_path, people):
    for k, images in enumerate(people):
        (tmp_path / "faces" / f"p{k}").mkdir(parents=True)
        for i, image in enumerate(images):
            (tmp_path / "faces" / f"p{k}" / f"{i}.jpg").write_bytes(image)
    return tmp_path / "faces"


def test_a_person_who_is_away_for_an_epoch_comes_back(home, monkeypatch):
    monkeypatch.setattr(pipeline, "MOST_UNREADABLE", 0.5)
    faces = data.open_faces(str(home), 8, (32, 32, 3))
    names = {0: "p3", 1: "away", 2: "p3"}
    for epoch, name in names.items():
        if epoch:
            os.rename(home / names[epoch - 1], home / name)
        found = [faces.load(epoch, 0, np.array([i]))[1]["labels"][0] for i in range(18, 21)]
        assert (found == [3, 3, 3]) == (name == "p3")
    assert not [j for j in faces.skipped if 18 <= j < 21]


def test_too_many_unreadable_images_stop_the_run_with_their_names(home, workdir):
    for k in range(4):
        (home / f"p{k}" / "0.jpg").write_bytes(b"no image")
    trainer = make(str(home))
    with pytest.raises(
        ValueError, match=r"(?s)4 of 48 images cannot be read, more than 2%: training stops.*p\d/0.jpg: not an image"
    ):
        trainer.train([{**STAGE, "optimizer": sgd()}])


def test_an_augmentation_that_gives_floats_is_refused(home, workdir):
    """Floats from 0 to 1 became black images of 0 and 1, and the loss looked as ever."""

    def to_floats(image, rng):
        return image / 255.0

    trainer = make(str(home), augmentations=[to_floats])
    with pytest.raises(
        ValueError, match=r"to_floats.*expected an image uint8 \(32, 32, 3\), 0 to 255. Received: float64"
    ):
        trainer.train([{**STAGE, "optimizer": sgd()}])
