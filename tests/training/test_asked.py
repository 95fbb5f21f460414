"""What a run was asked for, by value."""

import numpy as np
import pytest

from facetrainer.training.asked import differences, value_of


class Mine:
    def __init__(self, **settings):
        vars(self).update(settings)


def same_code(x):
    return x + 1


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (Mine(a=1, b=[2, "c"]), Mine(a=1, b=[2, "c"]), True),
        (Mine(a=1), Mine(a=2), False),
        ({"x", "y"}, {"y", "x"}, True),
        (np.arange(3), np.arange(3), True),
        (np.arange(1000), np.arange(1000)[::-1], False),
        (same_code, same_code, True),
        ((lambda d: lambda x, y=d: y)(Mine()), (lambda d: lambda x, y=d: y)(Mine()), True),
        (lambda x, *, y=1: y, lambda x, *, y=2: y, False),
        (lambda x: x in {"a", "b"}, lambda x: x in {"a", "c"}, False),
        ((lambda k: lambda x: x * k)(2), (lambda k: lambda x: x * k)(3), False),
    ],
)
def test_equal_is_what_does_the_same(first, second, equal):
    found = value_of(first), value_of(second)
    assert (found[0] == found[1]) == equal and "0x" not in str(found)


def test_an_object_that_holds_itself_ends():
    thing = Mine()
    thing.itself = thing
    assert value_of(thing) == value_of(thing)


def test_differences_name_the_place():
    before = {"learning rate": {"lr_base": 0.1, "lr_min": 0}, "data": [1, 2], "gone": 1}
    now = {"learning rate": {"lr_base": 1.0, "lr_min": 0}, "data": [1, 3], "new": {"a": 1}}
    assert differences(before, now) == [
        "learning rate lr_base 0.1 -> 1.0", "data 2 -> 3", "gone 1 -> None", 'new None -> {"a": 1}',
    ]  # fmt: skip
    assert differences(before, before) == []
