"""Names that stand for one thing each."""


def add(registry: dict, name: str, thing, kind: str) -> None:
    """Registers `thing` under `name`.

    The same thing defined again, as when a notebook cell is run twice, takes the place of the first.

    Args:
        registry: `{name: thing}`, changed in place.
        name: The name.
        thing: Class or function.
        kind: What it is, for the error.

    Raises:
        ValueError: The name is taken by something else.
    """
    taken = registry.get(name)
    if taken is not None and _place(taken) != _place(thing):
        raise ValueError(f"{kind} {name!r} is there already, {'.'.join(_place(taken))}: give yours another name.")
    registry[name] = thing


def _place(thing):
    return thing.__module__, thing.__qualname__
