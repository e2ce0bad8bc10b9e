"""What a pickle would build, as a tree: nothing in it is imported, called or built.

A pickle is a program. Here it runs on a machine whose calls only note what was asked for: a class
or function becomes a `Named`, a call of one a `Call`, a dictionary `Pairs` whose keys are never
hashed. Who reads the tree decides afterwards which names mean data, and refuses the others by
name. Reading and building stay apart so that no reader can run a line before all is audited.
"""

import io
import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from library.errors import UnusableRecording


@dataclass(frozen=True)
class Named:
    """A class or function that the pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        """Write the name as a program would."""
        return f"{self.module}.{self.name}"


@dataclass
class Pairs:
    """A dictionary: its items in order, keys as they come."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass
class Call:
    """An object that a call would make.

    Attributes:
        function: what would be called.
        arguments: with these.
        state: what its attributes would be set from; None for nothing.
        pairs: the items that would be set, for a dictionary's kin.
        elements: the elements that would be appended, for a list's kin.
    """

    function: Any
    arguments: Any
    state: Any = None
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """Something outside the pickle, by a name of its own ("persistent")."""

    identity: Any


@dataclass(frozen=True)
class Tree:
    """A pickle's content.

    Attributes:
        root: the object that it would return.
        references: all that it takes from outside, in order.
        end: where the pickle ends among the bytes.
    """

    root: Any
    references: tuple[Reference, ...]
    end: int


def read_tree(content: bytes, start: int = 0) -> Tree:
    """Read one pickle of any protocol.

    Args:
        content: the bytes.
        start: where it begins.

    Raises:
        UnusableRecording: it is damaged.
    """
    file = io.BytesIO(content)
    file.seek(start)
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.obey(opcode.name, argument)
        return Tree(machine.stack.pop(), tuple(machine.references), file.tell())
    except UnusableRecording:
        raise
    except Exception as error:  # a damaged stream can raise nearly anything
        raise UnusableRecording(f"the pickle is damaged ({type(error).__name__})") from None


def items_of(node: Any) -> list[tuple[Any, Any]]:
    """List the items of a dictionary or of a dictionary's kin, an OrderedDict for instance.

    Raises:
        UnusableRecording: it is neither.
    """
    if isinstance(node, Pairs):
        return node.items
    if isinstance(node, Call):
        return [*_pairs_given(node.arguments), *node.pairs]
    raise UnusableRecording(f"a dictionary is expected, not {type(node).__name__}")


def _pairs_given(arguments: Any) -> list[tuple[Any, Any]]:
    """Take the items that an old pickle hands to OrderedDict as a list of pairs."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if isinstance(first, Pairs):
        return first.items
    if not isinstance(first, list):
        return []
    return [tuple(pair) for pair in first if isinstance(pair, list | tuple) and len(pair) == 2]


class _Machine:
    """The stack machine of a pickle; see the module `pickletools` for what its commands mean."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.references: list[Reference] = []

    def obey(self, command: str, argument: Any) -> None:
        """Follow one command.

        Raises:
            UnusableRecording: no pickle of data has it.
        """
        follow = _COMMANDS.get(command)
        if follow is None:
            raise UnusableRecording(
                f"the pickle is of no plain kind (it has the command {command})"
            )
        follow(self, argument)

    def pop_many(self, n: int) -> list[Any]:
        """Take the last n values, in the order they came."""
        if n > len(self.stack):
            raise IndexError(n)
        taken = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return taken

    def pop_marked(self) -> list[Any]:
        """Take all values since the last mark."""
        return self.pop_many(len(self.stack) - self.marks.pop())

    def pop_pairs(self) -> list[tuple[Any, Any]]:
        """Take all values since the last mark as keys and values by turns."""
        values = self.pop_marked()
        return list(zip(values[::2], values[1::2], strict=True))

    def push_tuple(self, n: int) -> None:
        """Make the last n values a tuple."""
        self.stack.append(tuple(self.pop_many(n)))

    def push_global(self, text: str) -> None:
        """Note a class or function, "module name"."""
        module, name = text.split(" ", 1)
        self.stack.append(Named(module, name))

    def push_stack_global(self) -> None:
        """Note a class or function whose module and name were pushed before."""
        module, name = self.pop_many(2)
        self.stack.append(Named(str(module), str(name)))

    def push_call(self, n: int) -> None:
        """Note a call: function and arguments are the first two of the last n values."""
        function, arguments, *_ = self.pop_many(n)
        self.stack.append(Call(function, arguments))

    def push_marked_call(self) -> None:
        """Note a call in the manner of protocol 0 and 1."""
        function, *arguments = self.pop_marked()
        self.stack.append(Call(function, tuple(arguments)))

    def push_named_call(self, text: str) -> None:
        """Note a call of a class that is named here, in the manner of protocol 0."""
        arguments = self.pop_marked()
        self.push_global(text)
        self.stack.append(Call(self.stack.pop(), tuple(arguments)))

    def push_reference(self, identity: Any) -> None:
        """Note something outside."""
        self.references.append(Reference(identity))
        self.stack.append(self.references[-1])

    def set_state(self) -> None:
        """Note what an object's attributes would be set from."""
        target, state = self.stack[-2], self.stack.pop()
        if not isinstance(target, Call):
            raise UnusableRecording("the pickle would change a class, a function or plain data")
        target.state = state

    def add_items(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Add items to the dictionary below."""
        target = self.stack[-1]
        (target.pairs if isinstance(target, Call) else target.items).extend(pairs)

    def add_elements(self, elements: Iterable[Any]) -> None:
        """Add elements to the list below."""
        target = self.stack[-1]
        (target.elements if isinstance(target, Call) else target).extend(elements)

    def remember(self, key: int | None = None) -> None:
        """Keep the last value for later use."""
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def drop(self) -> None:
        """Forget the last value, or the last mark when nothing came after it."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


_LITERALS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8"
).split()
_COMMANDS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(_LITERALS, _push),
    "NONE": lambda m, a: m.stack.append(None),
    "NEWTRUE": lambda m, a: m.stack.append(True),
    "NEWFALSE": lambda m, a: m.stack.append(False),
    "EMPTY_TUPLE": lambda m, a: m.stack.append(()),
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "STOP": lambda m, a: None,
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "POP": lambda m, a: m.drop(),
    "POP_MARK": lambda m, a: m.pop_marked(),
    "DUP": lambda m, a: m.stack.append(m.stack[-1]),
    "EMPTY_LIST": lambda m, a: m.stack.append([]),
    "EMPTY_DICT": lambda m, a: m.stack.append(Pairs()),
    "EMPTY_SET": lambda m, a: m.stack.append(Call(Named("builtins", "set"), ())),
    "LIST": lambda m, a: m.stack.append(m.pop_marked()),
    "DICT": lambda m, a: m.stack.append(Pairs(m.pop_pairs())),
    "FROZENSET": lambda m, a: m.stack.append(Call(Named("builtins", "set"), (m.pop_marked(),))),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.pop_marked())),
    "TUPLE1": lambda m, a: m.push_tuple(1),
    "TUPLE2": lambda m, a: m.push_tuple(2),
    "TUPLE3": lambda m, a: m.push_tuple(3),
    "APPEND": lambda m, a: m.add_elements(m.pop_many(1)),
    "APPENDS": lambda m, a: m.add_elements(m.pop_marked()),
    "ADDITEMS": lambda m, a: m.add_elements(m.pop_marked()),
    "SETITEM": lambda m, a: m.add_items([tuple(m.pop_many(2))]),
    "SETITEMS": lambda m, a: m.add_items(m.pop_pairs()),
    "PUT": lambda m, a: m.remember(a),
    "BINPUT": lambda m, a: m.remember(a),
    "LONG_BINPUT": lambda m, a: m.remember(a),
    "MEMOIZE": lambda m, a: m.remember(),
    "GET": lambda m, a: m.stack.append(m.memo[a]),
    "BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "GLOBAL": lambda m, a: m.push_global(a),
    "STACK_GLOBAL": lambda m, a: m.push_stack_global(),
    "REDUCE": lambda m, a: m.push_call(2),
    "NEWOBJ": lambda m, a: m.push_call(2),
    "NEWOBJ_EX": lambda m, a: m.push_call(3),
    "OBJ": lambda m, a: m.push_marked_call(),
    "INST": lambda m, a: m.push_named_call(a),
    "BUILD": lambda m, a: m.set_state(),
    "PERSID": lambda m, a: m.push_reference(a),
    "BINPERSID": lambda m, a: m.push_reference(m.stack.pop()),
}
