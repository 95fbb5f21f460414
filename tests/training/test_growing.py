"""New people in the data: those who were there before keep their centers, by name."""

import os
import shutil

import keras
import numpy as np
import pytest
from helpers import make, sgd

from facetrainer import losses
from facetrainer.training import growing


def people_as_folders(root, people, names):
    """One folder a name; the images are those of the person whose number ends the name."""
    for name in names:
        os.makedirs(f"{root}/{name}")
        for i, image in enumerate(people[int(name[1:]) % len(people)]):
            open(f"{root}/{name}/{i}.jpg", "wb").write(image)
    return root


ARC = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 1, "centerloss": 0.1}
BEFORE, NOW = ["p1", "p2", "p3", "p10"], ["p0", "p2", "p3", "p4", "p10", "p11"]


@pytest.fixture
def grown(workdir, people):
    return people_as_folders("before", people, BEFORE), people_as_folders("now", people, NOW)


def centers(trainer):
    table = keras.ops.convert_to_numpy(trainer.head.centers())[:, 0]
    memory = keras.ops.convert_to_numpy(
        next(t for t in trainer.model.terms if isinstance(t, losses.CenterLoss)).centers
    )
    return dict(zip(trainer.source.class_names, zip(table, memory)))


def still(trainer):
    """A stage that changes nothing: its centers are those that it took over."""
    trainer.train([{**ARC, "loss": losses.ArcfaceLoss(scale=16), "epoch": 0, "optimizer": sgd()}])
    return centers(trainer)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_centers_are_kept_by_name_in_another_run(grown, suffix, caplog):
    caplog.set_level("INFO", "facetrainer")
    first = make(grown[0], f"a{suffix}")
    first.train([{**ARC, "optimizer": sgd()}])
    before = centers(first)
    after = still(make(grown[1], f"b{suffix}", model=f"checkpoints/a{suffix}"))
    for name in ("p2", "p3", "p10"):
        np.testing.assert_array_equal(after[name][0], before[name][0])
        if suffix == ".keras":  # an .h5 holds no memory of losses
            np.testing.assert_array_equal(after[name][1], before[name][1])
    assert not any(np.allclose(after[name][0], table) for name in ("p0", "p4", "p11") for table, _ in before.values())
    assert "of 4 people 3 keep their centers, 1 are gone, 3 are new" in caplog.text


def test_centers_are_kept_by_name_when_the_data_are_changed(grown):
    trainer = make(grown[0])
    trainer.train([{**ARC, "optimizer": sgd()}])
    before = centers(trainer)
    trainer.reset_dataset(grown[1])
    after = still(trainer)
    np.testing.assert_array_equal(after["p10"][0], before["p10"][0])
    np.testing.assert_array_equal(after["p10"][1], before["p10"][1])
    np.testing.assert_array_equal(after["p4"][1], 0)


def test_as_many_other_people_do_not_inherit_centers(workdir, people):
    """With the same number of people the table was taken over as it was: a stranger got another person's center."""
    first, second = (
        people_as_folders(root, people, names) for root, names in (("a", ["p1", "p2"]), ("b", ["p2", "p3"]))
    )
    trainer = make(first, batch_size=4)
    trainer.train([{**ARC, "optimizer": sgd()}])
    before = centers(trainer)
    trainer.reset_dataset(second)
    after = still(trainer)
    np.testing.assert_array_equal(after["p2"][0], before["p2"][0])
    assert not np.allclose(after["p3"][0], before["p2"][0]) and not np.allclose(after["p3"][0], before["p1"][0])


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_move_along_either_axis(axis):
    old = np.arange(24.0).reshape(2, 12) if axis else np.arange(24.0).reshape(12, 2)
    places = growing.places(["a", "b", "c", "d", "e", "f"], ["c", "x", "a"])
    fresh = np.full((2, 6) if axis else (6, 2), -1.0)
    new = growing.moved(old, fresh, axis, places, 6)  # two rows a person
    take = (lambda t, k: t[:, k]) if axis else (lambda t, k: t[k])
    for row, source in enumerate([4, 5, None, None, 0, 1]):
        np.testing.assert_array_equal(take(new, row), -1 if source is None else take(old, source))


def test_going_on_from_an_h5_takes_the_optimizer_of_its_run(grown, workdir):
    """It trained silently with Adam at the rate meant for SGD."""
    make(grown[0], "a.h5").train([{**ARC, "optimizer": sgd()}])
    trainer = make(grown[0], "b.h5", model="checkpoints/a.h5")
    trainer.train([{**ARC, "epoch": 1}])
    assert type(trainer.optimizer).__name__ == "SGD" and trainer.optimizer.momentum == 0.9
    shutil.rmtree("alone", ignore_errors=True)
    os.makedirs("alone")
    shutil.copy("checkpoints/a.h5", "alone/a.h5")
    with pytest.raises(ValueError, match=r"sch\[0\]: the model file holds no optimizer to go on with. Give"):
        make(grown[0], "c.h5", model="alone/a.h5").train([ARC])


def test_a_decay_meant_for_another_rate_is_told(grown, caplog):
    from facetrainer import optimizers

    make(grown[0], lr_base=0.1).train([{**ARC, "optimizer": optimizers.SGDW(5e-4)}])
    assert "weight decay follows the rate and is 0.05, not 0.0005. Give the optimizer learning_rate=0.1" in caplog.text
    caplog.clear()
    make(grown[0], "b.keras", lr_base=0.1).train([{**ARC, "optimizer": optimizers.SGDW(5e-4, 0.1)}])
    assert "weight decay follows" not in caplog.text


def test_names_that_are_no_utf_8():
    names = ["ann", os.fsdecode(b"b\xff"), "ü"]
    assert growing.unpacked(growing.packed(names)) == names
