"""Pickles read as data, by a machine of our own for the opcodes that data needs.

Nothing that a pickle names is imported or called: a global is looked up in a table of stand-ins that the reader of a format gives, and
only those are called. Instances, extensions, sets and buffers from outside are refused. Protocols 0 to 5.

Reference:
    CPython, Lib/pickletools.py, which documents every opcode.
"""

import codecs
import re
import struct
from collections.abc import Callable, Mapping

FREE_STEPS = 200_000  # opcodes that any file may have: about 40 MB of small objects at most
DEEPEST = 50  # tuples in tuples: a hash of thousands would run over the stack, which ends the process
BYTES_A_STEP = 64  # a longer file may have one more for so many bytes
LONG_TEXT = 1 << 16
WIDE = re.compile(rb"[\xc4-\xff]")  # leads of UTF-8 for characters beyond Latin-1, which take two or four bytes each
MARK = object()


class Name:
    """A global of the pickle: its stand-in, which the pickle may call.

    Args:
        make: What is called in its place.
    """

    def __init__(self, make: Callable | str):
        self.make = make


class Buildable:
    """A stand-in for an object whose content comes after it is made."""

    def build(self, state: object) -> None:
        """Takes the state that the pickle gives.

        Args:
            state: As it stands in the pickle.

        Raises:
            ValueError: It is none that this object can have.
        """
        raise NotImplementedError


class _Ignoring(dict):
    """A dictionary with attributes (a state dict's `_metadata`), which are left out."""


def mapping(*given) -> dict:
    """Stand-in for `OrderedDict`, without content or of pairs."""
    return _Ignoring(*given)


def load(data: bytes, known: Mapping[tuple[str, str], object], persistent: Callable | None = None) -> object:
    """Reads a pickle.

    Args:
        data: The pickle. Texts of Python 2 come as bytes.
        known: `{(module, name): stand-in}`; a callable may be called by the pickle.
        persistent: Function of a persistent identifier, if the format has them.

    Returns:
        Lists, tuples, dicts, texts, bytes, numbers, None, and what the stand-ins give.

    Raises:
        ValueError: The pickle is damaged, asks for another global, or has more objects than its length justifies.
    """
    machine = _Machine(data, known, persistent)
    try:
        return machine.run()
    except (IndexError, KeyError, struct.error, TypeError, OverflowError, AttributeError, RecursionError) as error:
        raise ValueError(f"a damaged pickle at byte {machine.at}: {type(error).__name__}: {error}") from error


class _Machine:
    def __init__(self, data, known, persistent):
        self.data, self.known, self.persistent, self.at = data, known, persistent, 0
        self.stack, self.memo = [], {}
        # of tuples that hold tuples, by identity; these are kept, so that no other takes it
        self.depths, self.deep = {}, []

    def run(self):
        for _ in range(FREE_STEPS + len(self.data) // BYTES_A_STEP):
            code = self.data[self.at]
            self.at += 1
            if code == ord("."):
                return self.stack[-1]
            step = STEPS.get(code)
            if step is None:
                raise ValueError(f"opcode 0x{code:02x} at byte {self.at - 1} is none that data needs")
            step(self)
        raise ValueError(f"more objects than {len(self.data)} bytes justify")

    # ---------------------------------------------------------------------------------------------------- reading

    def take(self, count):
        """The next `count` bytes."""
        if count > len(self.data) - self.at:
            raise ValueError(f"it ends at byte {len(self.data)}, {count} bytes are expected at byte {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self):
        end = self.data.index(b"\n", self.at)
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    # ------------------------------------------------------------------------------------------------------ stack

    def push(self, value):
        self.stack.append(value)

    def push_tuple(self, items):
        """A tuple of some objects, with no more tuples in it than data has."""
        found, inner = tuple(items), [self.depths.get(id(one), 1) for one in items if type(one) is tuple]
        if inner:
            if max(inner) >= DEEPEST:
                raise ValueError(f"more than {DEEPEST} tuples in one another, which data does not need")
            self.depths[id(found)] = max(inner) + 1
            self.deep.append(found)
        self.push(found)

    def to_mark(self):
        """What lies above the last mark, which goes."""
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def top(self, kind):
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"expected a {kind.__name__}. Received: {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def fill(self, items):
        """Keys and values in turn → the dict on top. Keys of other kinds could be as deep as the file is long."""
        found = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, bytes, int):
                raise ValueError(f"expected texts and numbers as keys. Received: {type(key).__name__}")
            found[key] = value

    # ---------------------------------------------------------------------------------------------------- objects

    def named(self, module, name):
        if (module, name) not in self.known:
            raise ValueError(
                f"it asks for '{module}.{name}', which data does not need. Do not open this file with pickle.load: it may run code."
            )
        self.push(Name(self.known[module, name]))

    def call(self):
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or not callable(function.make) or type(arguments) is not tuple:
            raise ValueError("a call of something that is no function")
        self.push(function.make(*arguments))

    def build(self):
        state = self.stack.pop()
        if isinstance(self.stack[-1], Buildable):
            self.stack[-1].build(state)
        elif not isinstance(self.stack[-1], _Ignoring):
            raise ValueError(f"a state for a {type(self.stack[-1]).__name__}")

    def by_identifier(self):
        if self.persistent is None:
            raise ValueError("a persistent identifier")
        self.push(self.persistent(self.stack.pop()))


def _text(raw):
    if len(raw) > LONG_TEXT and WIDE.search(raw):
        raise ValueError(f"a text of {len(raw)} bytes with characters beyond Latin-1")
    return raw.decode("utf-8", "surrogatepass")


def _old_text(raw):
    """`S'...'` of protocol 0."""
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise ValueError("a text without quotes")
    return codecs.escape_decode(raw[1:-1])[0]


def _integer(raw):
    """`I` and `L` of protocol 0; 00 and 01 are False and True."""
    return {b"00": False, b"01": True}.get(raw) if raw in (b"00", b"01") else int(raw.rstrip(b"L"))


def _sized(form, make):
    """A length in front, then so many bytes."""
    return lambda m: m.push(make(m.take(m.number(form))))


def _tuple_of(count):
    def step(m):
        found = m.stack[len(m.stack) - count :]
        if len(found) < count or any(one is MARK for one in found):
            raise ValueError("too few objects for a tuple")
        del m.stack[len(m.stack) - count :]
        m.push_tuple(found)

    return step


def _pair(m):
    """Key and value → the dict below."""
    value, key = m.stack.pop(), m.stack.pop()
    m.fill([key, value])


def _append(m):
    value = m.stack.pop()
    m.top(list).append(value)


def _dict(m):
    items = m.to_mark()
    m.push({})
    m.fill(items)


def _stack_global(m):
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a global whose name is no text")
    m.named(module, name)


def _remember(place):
    def step(m):
        if m.stack[-1] is MARK:
            raise ValueError("nothing to remember")
        m.memo[place(m)] = m.stack[-1]

    return step


def _signed(raw):
    return int.from_bytes(raw, "little", signed=True)


STEPS = {
    ord("("): lambda m: m.push(MARK),
    ord("0"): lambda m: m.stack.pop(),
    ord("1"): lambda m: m.to_mark(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(_integer(m.line())),
    ord("L"): lambda m: m.push(_integer(m.line())),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("G"): lambda m: m.push(m.number(">d")),
    0x8A: _sized("B", _signed),
    0x8B: _sized("<I", _signed),
    ord("S"): lambda m: m.push(_old_text(m.line())),
    ord("T"): _sized("<I", bytes),
    ord("U"): _sized("B", bytes),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape")),
    ord("X"): _sized("<I", _text),
    0x8C: _sized("B", _text),
    0x8D: _sized("<Q", _text),
    ord("B"): _sized("<I", bytes),
    ord("C"): _sized("B", bytes),
    0x8E: _sized("<Q", bytes),
    0x96: _sized("<Q", bytes),  # a bytearray: read as bytes
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.to_mark()),
    ord("a"): _append,
    ord("e"): lambda m: (items := m.to_mark(), m.top(list).extend(items)),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push_tuple(m.to_mark()),
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("}"): lambda m: m.push({}),
    ord("d"): _dict,
    ord("s"): _pair,
    ord("u"): lambda m: (items := m.to_mark(), m.fill(items)),
    ord("c"): lambda m: m.named(m.line().decode(), m.line().decode()),
    0x93: _stack_global,
    ord("R"): _Machine.call,
    0x81: _Machine.call,  # NEWOBJ: a class and its arguments
    ord("b"): _Machine.build,
    ord("Q"): _Machine.by_identifier,
    ord("p"): _remember(lambda m: int(m.line())),
    ord("q"): _remember(lambda m: m.number("B")),
    ord("r"): _remember(lambda m: m.number("<I")),
    0x94: _remember(lambda m: len(m.memo)),
    ord("g"): lambda m: m.push(m.memo[int(m.line())]),
    ord("h"): lambda m: m.push(m.memo[m.number("B")]),
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME: how far the writer's block goes
}
