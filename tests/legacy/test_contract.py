"""Every name of Keras_insightface is there with its arguments and defaults, or says what takes its place."""

import ast
import importlib
import inspect

import pytest
from contract import OTHER_DEFAULTS, REFUSED, SIGNATURES

LINES = [(module, line) for module, text in SIGNATURES.items() for line in text.split("\n") if line]


def found(module, name):
    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def plain(value):
    """Defaults that mean the same: [] and (), {} and None."""
    if value is None or value in ({}, [], ()):
        return None
    return list(value) if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize(("module", "line"), LINES, ids=[f"{m}.{line.partition('(')[0]}" for m, line in LINES])
def test_a_name_of_the_contract(module, line):
    name, bracket, rest = line.partition("(")
    thing = found(module, name)
    if f"{module}.{name}" in REFUSED:
        with pytest.raises(NotImplementedError, match=r"is not kept\. [A-Z].*\.$"):
            thing()
    if not bracket:
        return
    wanted = ast.parse(f"def f({rest}: pass").body[0].args
    ours = inspect.signature(thing).parameters
    by_position = [argument.arg for argument in wanted.args]
    takes_more = any(one.kind == one.VAR_KEYWORD for one in ours.values())
    assert takes_more or list(ours)[: len(by_position)] == by_position
    for argument, default in zip(wanted.args[len(wanted.args) - len(wanted.defaults) :], wanted.defaults):
        if argument.arg in ours and f"{name}.{argument.arg}" not in OTHER_DEFAULTS:
            assert plain(ours[argument.arg].default) == plain(ast.literal_eval(default)), argument.arg


def test_refused_names_are_of_the_contract():
    assert {f"{module}.{line.partition('(')[0]}" for module, line in LINES} >= REFUSED
