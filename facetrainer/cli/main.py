"""The command `facetrainer`: one word says what to do, the rest is that command's."""

import importlib
import sys

from facetrainer.utils.text import make_console_safe, unknown

COMMANDS = {
    "train": "run a recipe, or show what it would do",
    "recipes": "what there is to train, shipped and published, with what to expect",
    "prepare": "faces in: records, folders, photos and lists into training data",
    "evaluate": "accuracy on sets of pairs: LFW, CFP-FP, AgeDB-30, your own",
    "report": "a study of models on a page: HTML, PDF, LaTeX",
    "compare": "training runs beside each other: results, curves, settings, a paired test",
    "ijb": "IJB-B and IJB-C, 1:1 and 1:N",
    "identify": "one-to-many search: TinyFace, MegaFace, your own gallery",
    "folder": "who is taken for whom in a folder of people",
    "distill": "a teacher's embeddings of a whole dataset, to train on",
    "clean": "leave out images that lie far from their person's main center",
    "finetune": "a published model for your own people",
    "recognize": "who is it: two photos, a gallery, videos, albums",
    "serve": "a gallery as a web page and a JSON interface",
    "doctor": "is all well: versions, devices, files, speed",
    "patterns": "texture patterns behind a model's embedding, for small sets",
    "convert": "weights in and out: torch, MXNet, ONNX, LiteRT, SavedModel",
    "completion": "TAB completes commands and flags in bash, zsh, tcsh",
}


def usage() -> str:
    """Text of `facetrainer --help`."""
    rows = "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
    head = "usage: facetrainer COMMAND ...\n\nTrain, evaluate and use face-recognition models.\n\n"
    codes = "Exit codes: 0 done, 1 failed, with a line that says why, 2 a wrong call, 130 interrupted."
    return f"{head}{rows}\n\nfacetrainer COMMAND --help tells more; facetrainer --version the version.\n{codes}"


def main(argv: list[str] | None = None) -> int:
    """Runs one command; its exit code: 0 done, 1 failed, 2 for a wrong call."""
    make_console_safe()
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from facetrainer import __version__

        print(f"facetrainer {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"facetrainer: {unknown('command', argv[0], [*COMMANDS, '--help', '--version'])}", file=sys.stderr)
        return 2
    return importlib.import_module(f"facetrainer.cli.{argv[0]}").main(argv[1:])
