"""facenet's words: people and images of a batch, batches of an epoch, rates from a file, the length of the embedding."""

import keras
import numpy as np
import pytest
from helpers import arrays, make

from facetrainer import losses
from facetrainer.data import sampling
from facetrainer.training import callbacks

TRIPLETS = {"loss": losses.SemiHardTripletLoss(0.2), "epoch": 1, "optimizer": "adagrad"}


def test_people_and_images_of_a_batch(workdir, record):
    trainer = make(record, people_per_batch=4, images_per_person=3, epoch_size=5)
    trainer.train([TRIPLETS])
    assert trainer.batch_size == 12 and trainer.steps_per_epoch == 5
    images, named = next(iter(trainer.faces.batches()))
    people, counts = np.unique(named["labels"], return_counts=True)
    assert len(images) == 12 and len(people) == 4 and set(counts) == {3}
    with pytest.raises(ValueError, match="people_per_batch and images_per_person are 2 or more, both. Received: 4, 0"):
        make(record, "b.keras", people_per_batch=4)


@pytest.mark.parametrize("steps", [2, 3, 7, 13])
def test_epochs_of_another_length_show_the_same_batches(steps):
    labels = np.repeat(np.arange(6), 4).astype(np.int32)
    whole = sampling.Shuffled(labels, 8)
    flat = np.concatenate([whole(1, epoch) for epoch in range(30)])
    portions = sampling.Portions(whole, steps)
    found = np.concatenate([portions(1, epoch) for epoch in range(3)])
    np.testing.assert_array_equal(found, flat[: 3 * steps])


def test_rates_from_a_file_which_ends_the_training(workdir, record):
    open("rates.txt", "w").write("# facenet's\n0: 0.05\n2: 0.005  # later\n\n3: -1\n")
    trainer = make(record, lr_schedule_file="rates.txt")
    trainer.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 9, "optimizer": "MOM"}])
    assert trainer.my_history.history["lr"] == pytest.approx([0.05, 0.05, 0.005])
    assert isinstance(trainer.optimizer, keras.optimizers.SGD) and trainer.optimizer.nesterov
    again = make(record, lr_schedule_file="rates.txt")
    again.train([{"loss": losses.ArcfaceLoss(scale=16), "epoch": 9, "optimizer": "MOM"}])
    assert len(again.my_history.history["lr"]) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.05", "line 1: expected 'epoch: rate'"),
        ("3: 0.1\n2: 0.01", "line 2: epochs rise"),
        ("0: -1", "expected rates above 0"),
    ],
)
def test_rates_that_are_none(tmp_path, text, message):
    (tmp_path / "rates.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        callbacks.read_listed(str(tmp_path / "rates.txt"))


def test_length_of_the_embedding(workdir, record):
    loss = losses.PrelogitsNormLoss()
    loss.attach(4, 3, 0, (), "prelogits_norm")
    assert arrays([loss(np.zeros(1, int), np.array([[3.0, -4.0, 0.0]], "float32"))])[0] == pytest.approx(
        [7.0], abs=1e-3
    )
    two = losses.PrelogitsNormLoss(p=2)
    two.attach(4, 3, 0, (), "prelogits_norm")
    assert arrays([two(np.zeros(1, int), np.array([[3.0, -4.0, 0.0]], "float32"))])[0] == pytest.approx([5.0], abs=1e-3)
    trainer = make(record)
    trainer.train([{**TRIPLETS, "prelogits_norm_loss_factor": 0.5}])
    assert trainer.my_history.history["prelogits_norm_loss"][0] > 0 and trainer.loss_weights == [1, 0.5]
