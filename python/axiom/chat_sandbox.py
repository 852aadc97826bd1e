"""The sandbox that chat templates run in: Jinja2 as Hugging Face sets it up, with limits.

A template is a program from a model file, so it is treated as hostile. Three walls stand around it:

- Jinja's immutable sandbox: no attribute that leads to the interpreter, no change to what it is given;
- a count of steps, checked at every turn of a loop and every call of a macro, and a clock beside it;
- a size on every value that an operator, filter or method could make large out of small ones.

Filters, globals and methods of strings are those on a list; what is not on it does not exist here. `random` is not on
it for another reason: the same messages must give the same prompt.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from axiom.errors import TemplateError

__all__ = ["MAX_CHARS", "ChatEnvironment"]

# A prompt of a million tokens has some four million characters.
MAX_CHARS = 1 << 24
MAX_ITEMS = 1 << 20
MAX_STEPS = 1 << 17
MAX_SECONDS = 10.0
_MAX_INT_BITS = 1 << 12
_MAX_INT_ARGUMENT = 1 << 20

_FILTERS = frozenset(
    """
    abs attr capitalize count d default dictsort e escape first float groupby int items last length list lower
    map max min reject rejectattr reverse round safe select selectattr sort string sum title trim truncate
    unique upper wordcount
    """.split()  # noqa: SIM905
)
_GLOBALS = frozenset(["range", "dict", "namespace"])
_STR_METHODS = frozenset(
    """
    capitalize casefold count endswith find format index isalnum isalpha isascii isdecimal isdigit islower
    isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex
    rpartition rsplit rstrip split splitlines startswith strip swapcase title upper
    """.split()  # noqa: SIM905
)
_LONG_WIDTH = re.compile(r"%[^a-zA-Z%]*([0-9]{5,}|\*)")


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and runs chat templates. One render at a time: the counters are the environment's own."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        """Set Jinja up as Hugging Face does, and then shut what a template has no use for."""
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag], cache_size=0
        )
        self.filters = {name: call for name, call in self.filters.items() if name in _FILTERS}
        self.filters |= {"tojson": _tojson, "join": self._join, "replace": self._replace, "indent": self._indent}
        self.globals = {name: value for name, value in self.globals.items() if name in _GLOBALS}
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
        self._n_steps = 0
        self._deadline = 0.0

    def start(self) -> None:
        """Begin a render: set the counters back."""
        self._n_steps = 0
        self._deadline = time.monotonic() + MAX_SECONDS

    def compile_counted(self, source: str) -> Any:
        """Compile `source` with a step counted at every turn of a loop and every call of a macro."""
        tree = self.parse(source)
        for loop in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(loop, nodes.For | nodes.Macro | nodes.CallBlock)
            loop.body.insert(0, nodes.ExprStmt(_own_call("count_step", [], loop.lineno), lineno=loop.lineno))
        _Concatenations().visit(tree)
        return self.template_class.from_code(self, self.compile(tree), self.make_globals(None))

    def count_step(self) -> None:
        """Count a step, and end the render when there were too many or they took too long."""
        self._n_steps += 1
        if self._n_steps > MAX_STEPS:
            raise TemplateError(f"the chat template ran more than {MAX_STEPS} steps; it may loop without end")
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the chat template ran longer than {MAX_SECONDS:g} s; it may loop without end")

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a macro or a block wrote."""
        texts = list(parts)
        _check_chars(sum(map(len, texts)))
        return "".join(texts)

    def concatenate(self, *parts: Any) -> str:
        """Compute `a ~ b`."""
        texts = [str(part) for part in parts]
        _check_chars(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute a binary operation whose result could be large, after checking that it will not be."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            _check_chars(len(left) + len(right))
        elif operator == "+" and isinstance(left, list | tuple) and isinstance(right, list | tuple):
            _check_items(len(left) + len(right))
        elif operator == "*":
            for sequence, n in ((left, right), (right, left)):
                if isinstance(n, int) and isinstance(sequence, str):
                    _check_chars(len(sequence) * n)
                elif isinstance(n, int) and isinstance(sequence, list | tuple):
                    _check_items(len(sequence) * n)
            if isinstance(left, int) and isinstance(right, int):
                _check_bits(left.bit_length() + right.bit_length())
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * abs(right))
        elif operator == "%" and isinstance(left, str):
            _check_chars(len(left) + sum(map(_n_chars, right if isinstance(right, tuple) else (right,))))
            if _LONG_WIDTH.search(left):
                raise TemplateError("the chat template asked for padding of more than 9999 characters")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method of the template's, after checking that its result will not be large."""
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            __self._check_str_method(owner, __obj.__name__, args, kwargs)
        if any(isinstance(arg, int) and abs(arg) > _MAX_INT_ARGUMENT for arg in (*args, *kwargs.values())):
            raise TemplateError(f"the chat template passed a number over {_MAX_INT_ARGUMENT} to a function")
        return super().call(__context, __obj, *args, **kwargs)

    def _check_str_method(self, owner: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if name not in _STR_METHODS:
            raise TemplateError(f"the chat template calls str.{name}, which templates cannot use here")
        if name == "replace" and len(args) >= 2 and all(isinstance(arg, str) for arg in args[:2]):
            _check_replace(owner, args[0], args[1])
        elif name == "join" and args and isinstance(args[0], list | tuple):
            _check_chars(len(owner) * len(args[0]) + sum(map(_n_chars, args[0])))
        elif name == "join":
            raise TemplateError("the chat template joins something that is not a list")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Wrap `str.format`, which Jinja makes safe against attribute walks, against sizes as well."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        pattern: str = value.__self__

        def checked(*args: Any, **kwargs: Any) -> str:
            if re.search(r"[0-9]{5,}|\{[^}]*\{", pattern):
                raise TemplateError("the chat template asked for padding of more than 9999 characters")
            values = [_n_chars(arg) for arg in (*args, *kwargs.values())]
            _check_chars(len(pattern) + pattern.count("{") * max([*values, 10_000]))
            return wrapped(*args, **kwargs)

        return checked

    def _join(self, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            value = (self.getitem(item, attribute) for item in value)
        texts = [str(item) for item in value]
        _check_chars(len(d) * len(texts) + sum(map(len, texts)))
        return str(d).join(texts)

    def _replace(self, s: Any, old: Any, new: Any, count: int | None = None) -> str:
        s, old, new = str(s), str(old), str(new)
        _check_replace(s, old, new)
        return str(s.replace(old, new, -1 if count is None else count))

    def _indent(self, s: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
        space = width if isinstance(width, str) else " " * min(int(width), 256)
        lines = str(s).split("\n")
        _check_chars(len(str(s)) + len(space) * len(lines))
        shifted = [space + line if line or blank else line for line in lines]
        return "\n".join(shifted if first else [lines[0], *shifted[1:]])


class _GenerationTag(Extension):
    """`{% generation %}` … `{% endgeneration %}`, a mark for training: its body, as it is."""

    tags = {"generation"}  # noqa: RUF012 - as in Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Concatenations:
    """Turns every `a ~ b` into a call of `ChatEnvironment.concatenate`, which Jinja would compile to a plain join."""

    def visit(self, node: nodes.Node) -> None:
        for name, value in list(node.iter_fields()):
            if isinstance(value, nodes.Node):
                setattr(node, name, self._replaced(value))
            elif isinstance(value, list):
                value[:] = [self._replaced(item) if isinstance(item, nodes.Node) else item for item in value]

    def _replaced(self, node: nodes.Node) -> nodes.Node:
        self.visit(node)
        return _own_call("concatenate", node.nodes, node.lineno) if isinstance(node, nodes.Concat) else node


def _own_call(name: str, args: list[nodes.Expr], lineno: int) -> nodes.Call:
    """Make the call of a method of the environment; a template cannot rename what is reached this way."""
    return nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None, lineno=lineno)


def _check_replace(text: str, old: str, new: str) -> None:
    if len(new) > len(old):
        _check_chars(len(text) + text.count(old) * (len(new) - len(old)))


def _check_chars(n: int) -> None:
    if n > MAX_CHARS:
        raise TemplateError(f"the chat template makes a text of {n} characters, over the limit of {MAX_CHARS}")


def _check_items(n: int) -> None:
    if n > MAX_ITEMS:
        raise TemplateError(f"the chat template makes a list of {n} items, over the limit of {MAX_ITEMS}")


def _check_bits(n: int) -> None:
    if n > _MAX_INT_BITS:
        raise TemplateError(f"the chat template makes a number of {n} bits, over the limit of {_MAX_INT_BITS}")


def _n_chars(value: Any) -> int:
    """Bound the length of `str(value)` without making it, for the types whose text can be long."""
    if isinstance(value, str):
        return len(value)
    return 64 if isinstance(value, int | float | bool | None) else len(str(value))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as it is. Jinja's own filter escapes for HTML, which no model was trained on."""
    if indent is not None:
        indent = min(int(indent), 64)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> None:
    raise TemplateError(f"the chat template refuses these messages: {message}")


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
