"""A table of people for other people: rows go by name."""

import numpy as np


def packed(names: list[str]) -> np.ndarray:
    """Names → one uint8 array, as a state keeps them; folders may have names that are no UTF-8."""
    return np.frombuffer("\0".join(names).encode(errors="surrogateescape"), np.uint8)


def unpacked(data: np.ndarray) -> list[str]:
    """The way back."""
    return data.tobytes().decode(errors="surrogateescape").split("\0")


def places(before: list[str], now: list[str]) -> np.ndarray:
    """Where each of the names of `now` stood in `before`; −1 for those who are new."""
    known = {name: place for place, name in enumerate(before)}
    return np.array([known.get(name, -1) for name in now])


def moved(table: np.ndarray, fresh: np.ndarray, axis: int, places: np.ndarray, before: int) -> np.ndarray:
    """A table for other people.

    Args:
        table: The old one, `before` · k long along `axis`, with k rows a person.
        fresh: A new one, whose rows new people get.
        axis: That of the people.
        places: Where each person stood, −1 for new ones.
        before: How many people there were.

    Returns:
        The new table; `table` as it is where the two do not fit.
    """
    each = fresh.shape[axis] // len(places)
    if table.shape[axis] != each * before or fresh.shape[axis] != each * len(places):
        return table
    rows = (places[:, None] * each + np.arange(each)).ravel()
    kept = np.take(table, np.maximum(rows, 0), axis=axis)
    known = np.expand_dims(np.repeat(places >= 0, each), [k for k in range(table.ndim) if k != axis])
    return np.where(known, kept, fresh)


def told(places: np.ndarray, before: int) -> str:
    """What has become of the people, in words."""
    stayed = int((places >= 0).sum())
    return f"of {before} people {stayed} keep their centers, {before - stayed} are gone, {len(places) - stayed} are new"
