"""Numbers that are not numbers any more."""


class NotFiniteError(ArithmeticError):
    """Something holds NaN or infinity."""
