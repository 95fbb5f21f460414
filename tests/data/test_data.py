import itertools
import logging
import os
import threading

import cv2
import numpy as np
import pytest
import tensorflow as tf

from facetrainer import data
from facetrainer.data import augment
from facetrainer.data import synthetic as draw


def labels_of(faces, batches=3, **start):
    return [y["labels"] for _, y in itertools.islice(faces.batches(**start), batches)]


def test_folder_record_and_list_agree(folder, record, tmp_path):
    from_folder, from_record = data.open_source(folder), data.open_source(record)
    assert len(from_folder) == len(from_record) == 48
    assert len(from_folder.class_names) == len(from_record.class_names) == 8
    np.testing.assert_array_equal(np.bincount(from_folder.labels), np.full(8, 6))
    names = [from_folder.name(i) for i in range(48)]
    np.savez(tmp_path / "list.npz", image_names=names, image_classes=from_folder.labels + 100)
    listed = data.open_source(str(tmp_path / "list.npz"))
    np.testing.assert_array_equal(listed.labels, from_folder.labels)
    assert listed.read(5) == from_folder.read(5)


def test_classes_count_from_zero_in_natural_order(tmp_path):
    for name in ("10", "9", "100"):
        draw_into(tmp_path / name, 1)
    assert data.open_source(str(tmp_path)).class_names == ["9", "10", "100"]


def draw_into(home, count):
    home.mkdir(parents=True)
    for i in range(count):
        (home / f"{i}.jpg").write_bytes(draw.people(1, 1, i)[0][0])


def test_order_is_a_function_of_seed_and_epoch(record):
    faces = data.open_faces(record, 8, seed=3)
    again = data.open_faces(record, 8, seed=3)
    assert faces.steps == 6
    np.testing.assert_array_equal(faces.order(3, 1), again.order(3, 1))
    assert not np.array_equal(faces.order(3, 1), faces.order(3, 2))
    assert sorted(faces.order(3, 0).ravel()) == list(range(48))


@pytest.mark.parametrize("groups", [0, 4])
def test_a_run_can_begin_anywhere(record, groups):
    faces = data.open_faces(record, 8, (32, 32, 3), augment.from_status(3), groups)
    whole = list(itertools.islice(faces.batches(), 2 * faces.steps))
    rest = list(itertools.islice(faces.batches(1, 2), faces.steps - 2))
    for (x, y), (x2, y2) in zip(whole[faces.steps + 2 :], rest, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y["labels"], y2["labels"])


def test_groups_are_full_and_of_different_people(record):
    faces = data.open_faces(record, 16, image_per_class=4)
    for labels in labels_of(faces, 12):
        people, counts = np.unique(labels, return_counts=True)
        assert len(people) == 4 and set(counts) == {4}


def test_every_image_is_seen_in_groups():
    labels = np.repeat(np.arange(5), [1, 2, 3, 9, 4]).astype(np.int32)
    order = data.PeopleByImages(labels, 8, 4)
    assert set(order.people) == {1, 2, 3, 4}
    for epoch in range(3):
        batches = order(0, epoch)
        assert batches.shape == (order.steps, 8)
        for batch in batches:
            assert len(set(labels[batch][::4])) == 2
        assert set(batches.ravel()) == set(np.flatnonzero(labels > 0))


@pytest.mark.parametrize(("people", "images", "p"), [(43, 3, 8), (9, 5, 8), (8, 2, 8), (101, 7, 4)])
def test_groups_leave_nobody_out(people, images, p):
    """Of 43 people with 3 images 3 were missed in every epoch."""
    order = data.PeopleByImages(np.repeat(np.arange(people), images).astype(np.int32), 4 * p, 4)
    for epoch in range(3):
        batches = order(7, epoch)
        assert set(batches.ravel()) == set(range(people * images))
        owners = order.labels[batches].reshape(-1, p, 4)
        assert (owners == owners[:, :, :1]).all() and all(len(set(row)) == p for row in owners[:, :, 0].tolist())


def test_one_person_with_most_of_the_images():
    labels = np.repeat(np.arange(5), [40, 2, 2, 2, 2]).astype(np.int32)
    order = data.PeopleByImages(labels, 8, 4)
    assert order.steps == 10 and set(order(0, 0).ravel()) == set(range(48))


@pytest.mark.parametrize(("status", "steps"), [(-1, 0), (0, 1), (1, 2), (2, 2), (3, 3), (100, 2)])
def test_random_status(status, steps):
    changes = augment.from_status(status)
    image = draw.face(draw.identity(np.random.default_rng(0)), np.random.default_rng(1))
    assert len(changes) == steps
    for seed in range(20):
        result = image
        for change in changes:
            result = change(result, np.random.default_rng(seed))
        assert result.shape == image.shape and result.dtype == np.uint8


@pytest.mark.parametrize("name", list(augment.OPERATIONS))
def test_every_operation_changes_the_image(name):
    image = draw.face(draw.identity(np.random.default_rng(0)), np.random.default_rng(1))
    aug = augment.RandAugment(1, 7.0)
    aug.available_ops = [name]
    changed = aug.distort(image, np.random.default_rng(0))
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.mean(changed != image) > 0.02


@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"])
def test_what_moves_keeps_its_colours(name):
    """Nearest pixels, as in torchvision's RandAugment: no colour is mixed from two."""
    image = draw.face(draw.identity(np.random.default_rng(0)), np.random.default_rng(1))
    changed = augment.OPERATIONS[name](augment.RandAugment(1, 7.0), image, np.random.default_rng(0))
    assert {tuple(one) for one in changed.reshape(-1, 3)} <= {tuple(one) for one in image.reshape(-1, 3)}


@pytest.mark.parametrize(
    "change",
    [
        augment.Affine(),
        augment.Colour(),
        augment.Erase(1.0),
        augment.LowResolution(1.0),
        augment.Blur(1.0),
        augment.LowerMask(0.3),
    ],
)
def test_augmentations_leave_the_source_alone(change):
    image = draw.face(draw.identity(np.random.default_rng(0)), np.random.default_rng(1))
    before = image.copy()
    results = [change(image, np.random.default_rng(seed)) for seed in range(4)]
    np.testing.assert_array_equal(image, before)
    assert any(not np.array_equal(result, before) for result in results)


def test_light_is_what_tensorflow_does():
    image = np.random.default_rng(0).integers(60, 180, (20, 20, 3)).astype(np.uint8)
    ours = augment.Light(0.0, 0.3)(image, np.random.default_rng(5))
    factor = 1 + 0.3 * np.random.default_rng(5).uniform(-1, 1, 3)[1]
    theirs = tf.image.adjust_contrast(image.astype(np.float32), factor)
    assert np.abs(ours - np.clip(theirs, 0, 255)).max() <= 1


def test_saturation_leaves_grey_alone():
    image = np.random.default_rng(0).integers(60, 180, (20, 20, 3)).astype(np.uint8)
    changed = augment.Light(0, 0, 0.5)(image, np.random.default_rng(1)).astype(int)
    grey = [x @ [0.299, 0.587, 0.114] for x in (image, changed)]
    assert np.abs(grey[0] - grey[1]).max() <= 1.5
    factor = 1 + 0.5 * np.random.default_rng(1).uniform(-1, 1, 3)[2]
    np.testing.assert_allclose(changed - grey[0][..., None], factor * (image - grey[0][..., None]), atol=1)


@pytest.mark.parametrize("damage", [b"", b"no image at all", "cut", "flip"])
def test_a_corrupt_image_is_skipped_counted_and_named(tmp_path, people, caplog, damage):
    for person, images in enumerate(people[:3]):
        home = tmp_path / f"p{person}"
        home.mkdir()
        for i, image in enumerate(images):
            (home / f"{i}.jpg").write_bytes(image)
    image = people[1][2]
    bad = {"cut": image[: len(image) // 2], "flip": b"\xff\xd8" + bytes(100) + image[102:]}.get(damage, damage)
    (tmp_path / "p1" / "2.jpg").write_bytes(bad)
    faces = data.open_faces(str(tmp_path), 6, (32, 32, 3))
    with caplog.at_level(logging.WARNING, "face"):
        images = [x for x, _ in itertools.islice(faces.batches(), 3 * faces.steps)]
    assert all(x.shape == (6, 32, 32, 3) for x in images)
    assert list(faces.skipped) == [8]
    named = [r.getMessage() for r in caplog.records if os.path.join("p1", "2.jpg") in r.getMessage()]
    assert len(named) == 1 and "skipped image 1" in named[0]


def test_readers_that_meet_at_a_damaged_image_name_it_once(record, caplog, monkeypatch):
    faces, both = data.open_faces(record, 6, (32, 32, 3)), threading.Barrier(2)
    monkeypatch.setattr(faces.source, "name", lambda i: (both.wait(9), f"image {i}")[1])
    readers = [threading.Thread(target=faces._skip, args=(3, 0, ValueError("cut off"))) for _ in "ab"]
    for one in readers:
        one.start()
    for one in readers:
        one.join()
    assert len([r for r in caplog.records if "cut off" in r.getMessage()]) == 1
    assert list(faces.skipped) == [3]


def test_clear_errors(tmp_path, record):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.open_faces(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="holds no image"):
        data.open_faces(str(tmp_path))
    with pytest.raises(ValueError, match="48 images are fewer than one batch of 128: use batch_size=24 or less"):
        data.open_faces(record, 128)
    draw_into(tmp_path / "alone", 2)
    with pytest.raises(ValueError, match="one class only, 'alone'"):
        data.open_faces(str(tmp_path), 2)
    with pytest.raises(ValueError, match="P×K batch of 64 needs 16: use batch_size=32"):
        data.open_faces(record, 64, image_per_class=4)


def test_ready_dataset():
    images, labels = np.zeros((12, 8, 8, 3), np.float32), np.arange(12) % 3
    ready = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    faces = data.open_faces(ready)
    assert (faces.steps, faces.classes) == (3, 3)
    np.testing.assert_array_equal(labels_of(faces, 1, step=1)[0], labels[4:8])
    one_hot = tf.data.Dataset.from_tensor_slices((images, np.eye(5)[labels])).batch(4)
    assert data.open_faces(one_hot).classes == 5
    with pytest.raises(ValueError, match="empty or endless"):
        data.open_faces(ready.repeat())


def test_grey_input(record):
    x, _ = next(iter(data.open_faces(record, 4, (40, 30, 1)).batches()))
    assert x.shape == (4, 40, 30, 1)


@pytest.mark.real
def test_lfw_train_rec(real):
    faces = data.open_faces(f"{real}/lfw", 128)
    assert (len(faces.source), faces.classes) == (8761, 3369)
    image = data.decode(faces.source.read(0), (112, 112))
    assert cv2.Laplacian(image, cv2.CV_64F).var() > 1 and len(set(faces.source.labels)) == 3369


def test_too_few_drawn_people_are_told_in_words():
    from facetrainer.data import synthetic

    for counts in ((1, 20, 2), (5, 12, 2), (5, 20, 1)):
        with pytest.raises(
            ValueError, match="draw.dataset: expected 2 people or more to train on, 20 or more held out"
        ):
            synthetic.dataset(*counts)
