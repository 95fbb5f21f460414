"""Many views of each image, and a teacher's embeddings of them."""

import numpy as np
import pytest

from facetrainer.data import sources
from facetrainer.data.images import decode, encode
from facetrainer.preparing.distill import Data_distiller
from facetrainer.preparing.views import Views


class Ramps(sources.Source):
    """Images of one grey level each, 40 apart."""

    labels, class_names = np.array([0, 0, 1]), ["a", "b"]

    def read(self, i):
        return encode(np.full((32, 32, 3), 40 * (i + 1), np.uint8), ".png")

    def name(self, i):
        return f"ramp {i}"


def test_the_first_view_is_the_image_and_the_others_are_drawn_alike_every_time():
    one, again = (Views(Ramps(), 3, size=(32, 32)) for _ in range(2))
    assert len(one) == 9 and one.labels.tolist() == [0, 0, 1] * 3
    assert one.read(1) == Ramps().read(1) and one.name(1) == "ramp 1" and one.name(7) == "ramp 1 (view 2)"
    assert [one.read(i) for i in range(9)] == [again.read(i) for i in range(9)]
    assert one.read(4) != one.read(7) and one.read(4) != Views(Ramps(), 3, seed=1, size=(32, 32)).read(4)


def test_a_blended_view_is_its_own_image_for_the_greater_part():
    plain, blended = (Views(Ramps(), 40, blend, size=(32, 32), changes=()) for blend in (0, 1))
    levels = [[int(decode(views.read(i))[16, 16, 0]) for i in range(3, 120, 3)] for views in (plain, blended)]
    assert set(levels[0]) == {40}
    assert (
        min(levels[1]) == 40 and 60 < max(levels[1]) <= 80 and len(set(levels[1])) > 5
    )  # half of 40 and half of 120 at most


def mean_colours(images):
    return np.asarray(images).mean(axis=(1, 2))


def test_a_student_gets_the_teachers_embedding_of_each_view(folder, workdir):
    path = Data_distiller(folder, mean_colours, "views.tfrecord", views=3, limit=4, shape=(112, 112))
    found = sources.open_source(path)
    assert len(found) == 12 and len(found.class_names) == len(set(sources.open_source(folder).labels[:4]))
    for i in range(12):
        pixels = decode(found.read(i), (112, 112)).astype(np.float32)
        np.testing.assert_allclose(found.embeddings[[i]][0], mean_colours((pixels[None] - 127.5) / 128)[0], atol=1e-4)


def test_views_that_were_broken_off_go_on_with_the_same_pixels(folder, workdir):
    seen = []

    def dying(images):
        seen.append(len(images))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return mean_colours(images)

    dying.__qualname__ = mean_colours.__qualname__
    options = {"views": 2, "batch_size": 4, "limit": 8, "shape": (112, 112)}
    with pytest.raises(KeyboardInterrupt):
        Data_distiller(folder, dying, "a.tfrecord", **options)
    Data_distiller(folder, mean_colours, "a.tfrecord", recover=True, **options)
    Data_distiller(folder, mean_colours, "b.tfrecord", **options)
    with open("a.tfrecord", "rb") as a, open("b.tfrecord", "rb") as b:
        assert a.read() == b.read()


@pytest.mark.parametrize("wrong", [{"views": 0}, {"views": 2, "blend": 1.5}, {"views": 2, "model_file": None}])
def test_what_views_cannot_be(wrong, folder, workdir):
    with pytest.raises(ValueError, match="expected views of 1 or more, blend from 0 to 1, and a teacher"):
        Data_distiller(folder, **{"model_file": mean_colours, "dest_file": "x.tfrecord", **wrong})


def test_a_list_of_names_has_no_place_for_views(folder, workdir):
    with pytest.raises(ValueError, match="names images and holds none.*Give a .tfrecord"):
        Data_distiller(folder, mean_colours, "x.npz", views=2)
