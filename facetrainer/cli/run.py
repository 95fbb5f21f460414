"""How every command begins and ends."""

import argparse
import errno
import os
import shlex
import sys
from collections.abc import Callable

from facetrainer.utils import logs
from facetrainer.utils.files import write_json
from facetrainer.utils.text import make_console_safe, without_nan


def call(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], object], argv: list[str] | None = None
) -> int:
    """Parses the arguments and does what they say.

    Args:
        parser: Gets `--debug` besides its own arguments.
        work: Called with the parsed arguments. What it returns is written to the file of `--json`, where the parser has `add_json`.
        argv: Arguments; those of the process unless given.

    Returns:
        0 when the work is done, also where whoever read the output has enough of it; 1 where it failed, with one line on standard error,
        with `--debug` the exception is raised instead; 130 where it was interrupted.

    Raises:
        SystemExit: With 2, where the call is wrong.
    """  # noqa: DOC501 what comes of the work with --debug is the work's
    make_console_safe()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = with_debug(parser).parse_args(argv)
    logs.show_messages()
    debug = arguments.__dict__.pop("debug")
    try:
        place = _place(getattr(arguments, "json", None))
        found = work(arguments)
        if place:
            write_json(place, without_nan(found), indent=1)
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, ArithmeticError) as error:
        if debug:
            raise
        print(f"{parser.prog}: {type(error).__name__}: {_told(error)}", file=sys.stderr)
        return 1
    return 0


def _place(path):
    """The file of `--json`, refused before the work is done where it could not be written."""
    if path and not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise FileNotFoundError(f"--json {path}: its folder does not exist. Make it, or give another file.")
    return path


def with_command(name: str, work: Callable[[argparse.Namespace], object], argv: list[str] | None) -> Callable:
    """`work` whose arguments have the command line, as `command`: results tell how they are made again.

    Args:
        name: Of the command behind `facetrainer`.
        work: See `call`.
        argv: See `call`.

    Returns:
        Function of the parsed arguments, for `call`.
    """

    def told(a):
        a.command = shlex.join(["facetrainer", name, *(sys.argv[1:] if argv is None else argv)])
        return work(a)

    return told


def _told(error):
    """The message of an exception; of the operating system's, the file it is about."""
    if getattr(error, "errno", None) is None:
        return error
    place = f": {error.filename}" if error.filename is not None else ""
    goes_on = ". Make room; the same command goes on." if error.errno == errno.ENOSPC else ""
    return f"[Errno {error.errno}] {error.strerror}{place}{goes_on}"


def with_debug(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds `--debug` to a parser and to those of its subcommands."""
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error came from")
    parser.set_defaults(debug=False)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def add_trusted(parser: argparse.ArgumentParser) -> None:
    """Adds `--trusted`, for commands that open model files."""
    parser.add_argument(
        "--trusted",
        action="store_true",
        help="the model file may run code: SavedModel, torch-jit, Keras files with Lambda layers",
    )


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds `--json`, for commands whose `work` returns what they did."""
    parser.add_argument("--json", metavar="FILE", help=what)


def add_study(parser: argparse.ArgumentParser, draws: int = 200) -> None:
    """Adds `--bootstrap` and `--page`, for commands whose rates have intervals over people and can stand in a study."""
    about = f"of the people, for 95 %% intervals; 0 for none ({draws})"
    parser.add_argument("--bootstrap", type=int, default=draws, metavar="DRAWS", help=about)
    parser.add_argument("--page", metavar="FILE", help="a study: .html, .pdf or .tex; of several, facetrainer report")


def describe(prog: str, text: str | None, **kwargs) -> argparse.ArgumentParser:
    """A parser that prints `text` as it is written, and names the command as it was called.

    Args:
        prog: Name of the command behind `facetrainer`.
        text: Its description.
        **kwargs: Further arguments of `argparse.ArgumentParser`.

    Returns:
        The parser.
    """
    script = os.path.basename(sys.argv[0])
    name = script if script.endswith(".py") and script != "__main__.py" else f"facetrainer {prog}"
    return argparse.ArgumentParser(
        name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
    )
