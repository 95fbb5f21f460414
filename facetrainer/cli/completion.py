"""What a shell needs to complete commands, flags and files with the TAB key.

  facetrainer completion bash > ~/.local/share/bash-completion/completions/facetrainer
  facetrainer completion zsh > ~/.zfunc/_facetrainer                                     with fpath+=~/.zfunc before compinit

Needs shtab: pip install shtab.
"""

from __future__ import annotations

import argparse
import importlib

from facetrainer.cli import main as commands
from facetrainer.cli import run
from facetrainer.utils.optional import need

SHELLS = ("bash", "zsh", "tcsh")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    main = run.describe("completion", __doc__)
    main.add_argument("shell", choices=SHELLS)
    return main


def main(argv: list[str] | None = None) -> int:
    """Prints the script; exit codes of `run.call`."""
    return run.call(parser(), _work, argv)


def _work(a):
    print(need("shtab", "shtab", "shell completion").complete(whole(), a.shell))


def whole() -> argparse.ArgumentParser:
    """One parser of all commands, each of which has its own as a rule, so that it starts quickly."""
    found = argparse.ArgumentParser("facetrainer")
    children = found.add_subparsers()
    for name, text in commands.COMMANDS.items():
        own = importlib.import_module(f"facetrainer.cli.{name}").parser()
        children.add_parser(name, help=text, parents=[own], add_help=False)
    return found
