"""What a file for use has to say of itself: the sidecar that an export writes, and a page made of it.

Nobody but the model's makers can tell a licence and what it is meant for; where they have not said, the page says so.
"""

import glob
import os

from facetrainer.data.alignment import LAYOUTS
from facetrainer.metrics import calibration
from facetrainer.reporting import runs
from facetrainer.utils import environment

PLACES = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")


def sidecar(model: str, size: tuple[int, int], raw: bool, licence: str | None = None) -> dict:
    """What is known of a model besides its numbers.

    Args:
        model: The file that is exported. Thresholds beside it, and the state of the run that made it, are read.
        size: `(height, width)` of the images.
        raw: Whether the exported file takes uint8 images as they are.
        licence: Of the weights. Defaults to not stated.

    Returns:
        Plain values by name, for JSON.
    """
    found = {
        "licence": licence or "not stated",
        "preprocessing": {
            "colour": "RGB", "values": "uint8, 0 to 255, as they are" if raw else "float32, (x - 127.5) / 128", "size": list(size),
            "alignment": "similarity from five landmarks", "landmarks": landmarks(size),
        },
        "comparison": "cosine of two embeddings",
        "made by": environment.of_run(),
    }  # fmt: skip
    thresholds = calibration.read(model)
    return {**found, **({"thresholds": thresholds} if thresholds else {}), **trained(model)}


def landmarks(size: tuple[int, int]) -> dict[str, list[float]]:
    """Where five points lie in a crop of a size, x and y in pixels, sides as seen."""
    layout = LAYOUTS["sphereface"] if tuple(size) == (112, 96) else LAYOUTS["arcface"]
    places = layout.template * [size[1] / layout.width, size[0] / layout.height]
    return {name: [round(float(value), 4) for value in point] for name, point in zip(PLACES, places, strict=True)}


def trained(model: str) -> dict:
    """How a run made a model, by the state beside it: data, stages, batch; empty where there is none."""
    stem = os.path.splitext(model)[0].split("_basic_")[0]
    if not os.path.exists(stem + runs.STATE) or not glob.glob(glob.escape(stem) + runs.HISTORY):
        return {}
    kept = runs.read(stem).settings
    wanted = {name: value for name, value in kept.items() if not name.startswith("model ")}
    return {"trained": wanted}


def page(about: dict, file: str) -> str:
    """A page of a sidecar.

    Args:
        about: The sidecar.
        file: Name of the exported file.

    Returns:
        Markdown.

    Raises:
        ValueError: It is no sidecar.
    """
    if not isinstance(about, dict) or not {"input", "embedding", "preprocessing"} <= set(about):
        raise ValueError("expected the .json that facetrainer convert export writes beside a file, of 0.13 or newer.")
    parts = [f"# {_plain(file)}", WHAT, "## What it takes and gives", _table(_interface(about))]
    parts += ["## What it is meant for", MEANT, "## How good it is", *_accuracy(about)]
    if "thresholds" in about:
        parts += ["## Thresholds", *_thresholds(about["thresholds"])]
    parts += ["## How it was made", _table(_made(about)), "## Licence", _plain(about.get("licence", "not stated"))]
    return "\n\n".join(parts) + "\n"


WHAT = "A face-embedding model: an aligned crop goes in, a vector comes out; two faces are compared by the cosine of theirs."
MEANT = (
    "Comparing faces of people who have agreed to it, at a threshold calibrated on people like them. It says how alike "
    "two faces are to it, not who somebody is; twins and relatives score high. Rates of groups of people differ: "
    "measure them (`facetrainer evaluate --attributes`) before use."
)


def _interface(about):
    made = about["preprocessing"]
    points = "; ".join(f"{name} {x:.2f}, {y:.2f}" for name, (x, y) in made.get("landmarks", {}).items())
    return {
        "input": about["input"], "colour and values": f"{made['colour']}, {made['values']}", "alignment": f"{made['alignment']}: {points}",
        "embedding": f"{about['embedding']} numbers{', of length 1' if about.get('unit length') else ''}", "form": about.get("form", ""),
        "quantised": about.get("quantize") or "no",
    }  # fmt: skip


def _accuracy(about):
    largest = about.get("largest difference", float("nan"))
    yield f"Largest difference from the model it was made of: {largest:.1e} in embeddings of length 1."
    if "accuracy" in about:
        yield _table({f"10-fold accuracy {when}": f"{value:.4f}" for when, value in about["accuracy"].items()})
    else:
        yield "No accuracy was measured at export (`--bin`)."


def _thresholds(found):
    rows = {}
    for far, one in found["thresholds"].items():
        low, high = one["FAR 95%"]
        rows[f"FMR {far} ({low:.2g}–{high:.2g})"] = f"{one['threshold']:.4f}"
    sets = _plain(", ".join(str(one.get("set")) for one in found.get("sets", []) if isinstance(one, dict)))
    if not rows:
        yield f"The pairs of {sets} were too few to set any: `facetrainer evaluate --calibrate` on more."
        return
    yield "Cosine from which on two faces count as one person's, by false match rate, with its interval over people:"
    yield _table(rows)
    yield f"Set on {sets}."


def _made(about):
    rows = {
        "from": os.path.basename(str(about.get("from", ""))),
        "SHA-256 of it": about.get("sha256") or "–",
        **about.get("made by", {}),
    }
    return {**rows, **about.get("trained", {})}


def _table(rows):
    lines = [f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _plain(value):
    """Text of a stranger's file as text in a table of Markdown."""
    return (
        str(value)
        .replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("\n", " ")
        .replace("`", "'")[:500]
    )
