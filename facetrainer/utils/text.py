"""Texts for people: near names, and characters that any console can show."""

import codecs
import difflib
import math
import sys
from collections.abc import Iterable

MOST = 100  # names in an error
PLAIN = {
    "→": "->", "↔": "<->", "×": "x", "·": "*", "–": "-", "−": "-", "…": "...", "±": "+-", "≤": "<=", "≥": ">=", "‖": "|",
    "α": "alpha", "λ": "lambda", "θ": "theta", "√": "sqrt", "½": "1/2", "é": "e", "“": '"', "”": '"', "’": "'",
}  # fmt: skip


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Text of the error about a name that is not known, with the nearest known one or all of them.

    Args:
        kind: What the name should have been, "loss".
        name: What came.
        known: The names that there are.

    Returns:
        A sentence or two: "unknown loss 'arcfase'. Did you mean 'arcface'?"
    """
    known = [str(one) for one in known]
    near = difflib.get_close_matches(str(name), known, 1, 0.5)
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known)[:MOST])}{more}."
    return f"unknown {kind} {name!r}. {hint}"


def _plainer(error):
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


def make_console_safe() -> None:
    """Let standard output and error replace what their encoding lacks, so that no line can crash a command."""
    codecs.register_error("facetrainer", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="facetrainer")


def shown(rate: float) -> str:
    """A rate with four digits; "–" where it is none (nan): too few pairs or probes tell it."""
    return "–" if math.isnan(rate) else f"{rate:.4f}"


def without_nan(value: object) -> object:
    """The same with None for nan in dicts and lists at any depth: JSON has no nan."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
