"""Pickles that call, or that take memory: evaluation `.bin` files."""

import os
import pickle
import struct

from .files import Calls, flag, hostile, put


def glob(module, name):
    return f"c{module}\n{name}\n".encode()


def short(data):
    return b"C" + bytes([len(data)]) + data


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def dtype(name):
    return glob("numpy", "dtype") + text(name) + b"\x89\x88\x87R"


def bin_of(image):
    """(images, issame) of a pickled object and a good image."""
    return b"\x80\x04](" + image + short(b"\xff\xd8x") + b"e]\x88a\x86."


@hostile("calls.bin", "code")
def calls_bin(path):
    put(path, pickle.dumps(([Calls(open, flag(), "w"), b"x"], [True])))


@hostile("system.bin", "code")
def system_bin(path):
    put(path, pickle.dumps(([Calls(os.system, f"touch {flag()}"), b"x"], [True]), 0))


@hostile("objects.bin", "crash")
def objects_bin(path):
    """Raw bytes as pointers to objects, by a dtype that is told anew that it holds none."""
    state = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    buffer = (
        glob("numpy.core.numeric", "_frombuffer")
        + b"("
        + short(b"\x41" * 64)
        + dtype("O8")
        + state
        + b"K\x08\x85"
        + text("C")
        + b"tR"
    )
    put(path, b"\x80\x04](" + short(b"\xff\xd8x") * 16 + b"e" + buffer + b"\x86.")


@hostile("scalar.bin", "crash")
def scalar_bin(path):
    put(path, bin_of(glob("numpy.core.multiarray", "scalar") + dtype("O8") + short(b"\x41" * 8) + b"\x86R"))


@hostile("huge_array.bin", "memory")
def huge_array_bin(path):
    put(
        path,
        bin_of(
            glob("numpy", "ndarray")
            + b"\x8a\x05"
            + struct.pack("<q", 3_000_000_000)[:5]
            + b"\x85"
            + text("u1")
            + b"\x86R"
        ),
    )


@hostile("huge_bytes.bin", "memory")
def huge_bytes_bin(path):
    put(path, bin_of(glob("builtins", "bytearray") + b"\x8a\x05" + struct.pack("<q", 3_000_000_000)[:5] + b"\x85R"))


@hostile("huge_bytearray8.bin", "memory")
def huge_bytearray8_bin(path):
    put(path, bin_of(b"\x96" + struct.pack("<Q", 3_000_000_000) + b"x"))


@hostile("lists.bin", "memory")
def lists_bin(path):
    put(path, b"\x80\x04" + b"]" * 8_000_000 + b".")


@hostile("many_views.bin", "memory")
def many_views_bin(path):
    """A thousand million empty images."""
    empty = (
        glob("numpy.core.numeric", "_frombuffer")
        + b"("
        + short(b"")
        + dtype("u1")
        + b"J\x00\xca\x9a\x3bK\x00\x86"
        + text("C")
        + b"tR"
    )
    put(path, b"\x80\x04" + empty + b"]\x88a\x86.")


@hostile("many_copies.bin", "memory")
def many_copies_bin(path):
    """One array that stands in a hundred thousand pairs."""
    array = (
        glob("numpy.core.numeric", "_frombuffer")
        + b"(B"
        + struct.pack("<I", 20_000)
        + bytes(20_000)
        + dtype("u1")
        + b"M\x20\x4e\x85"
        + text("C")
        + b"tRq\x01"
    )
    put(path, b"\x80\x04](" + array + b"h\x01" * 99_999 + b"e](" + b"\x88" * 50_000 + b"e\x86.")


@hostile("deep_type.bin", "crash")
def deep_type_bin(path):
    """A tuple in a tuple … as the name of a type: found by atheris, its hash and its text would run over the stack."""
    nested = b"N" + b"\x85" * 150_000
    put(path, bin_of(glob("numpy", "dtype") + nested + b"\x89\x88\x87R"))


@hostile("deep.bin", "crash")
def deep_bin(path):
    """A tuple in a tuple … as a key: its hash would run over the stack."""
    put(path, b"\x80\x04}N" + b"\x85" * 150_000 + b"Ns.")


@hostile("build.bin", "crash")
def build_bin(path):
    """A state for a function."""
    put(path, bin_of(glob("numpy.core.multiarray", "_reconstruct") + b"}" + text("__doc__") + b"Nsb"))


@hostile("empty_array.bin", "error")
def empty_array_bin(path):
    """Found by fuzzing: an array that never gets its content."""
    array = (
        glob("numpy.core.multiarray", "_reconstruct") + glob("numpy", "ndarray") + b"K\x00\x85" + short(b"b") + b"\x87R"
    )
    put(path, b"\x80\x04" + array + array + b"\x86.")
