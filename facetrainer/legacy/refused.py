"""Names that stay importable and say, once they are used, what takes their place."""

from collections.abc import Callable


def refused(name: str, instead: str) -> Callable:
    """A function that only raises.

    Args:
        name: As notebooks know it, "models.SAMModel".
        instead: A sentence: what to use.

    Returns:
        A function that raises NotImplementedError whatever it is called with.
    """

    def call(*args, **kwargs):
        raise NotImplementedError(f"{name} of Keras_insightface is not kept. {instead}")

    call.__name__ = call.__qualname__ = name.rpartition(".")[2]
    call.__doc__ = f"Not kept. {instead}"
    return call
