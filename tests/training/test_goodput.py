"""Where the time goes."""

import time

import pytest

from facetrainer.training.goodput import Goodput


class Faces:
    waited = 5.0


def test_shares_of_the_wall_time():
    faces = Faces()
    goodput = Goodput(faces)
    for _ in range(2):
        goodput.on_train_begin()
        for batch in range(3):
            goodput.on_train_batch_begin(batch)
            time.sleep(0.2 if batch == 0 else 0.05)
            faces.waited += 0.01
            goodput.on_train_batch_end(batch)
        with goodput.span("evaluation"):
            time.sleep(0.1)
            with goodput.span("checkpoint"):
                time.sleep(0.1)
    with goodput.span("checkpoint"):
        time.sleep(0.1)
    time.sleep(0.1)
    expected = {"steps": 0.24, "input": 0.06, "evaluation": 0.4, "checkpoint": 0.1, "compile": 0.3, "rest": 0.1}
    assert goodput.seconds() == pytest.approx(expected, abs=0.06)
    assert goodput.describe().startswith("1 s: steps ")
