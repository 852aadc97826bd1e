"""The sandbox that chat templates run in: Jinja2 as Hugging Face sets it up, with limits.

A template is a program from a model file, so it is treated as hostile. Three walls stand around it:

- Jinja's immutable sandbox: no attribute that leads to the interpreter, no change to what it is given;
- a count of steps, checked at every turn of a loop, call of a macro and use of a filter, and a clock beside it;
- a size on every value that a literal, operator, filter or method could make large out of small ones, and on all that
  they make together (`axiom.chat_limits`).

Filters, globals and methods of strings are those on a list; what is not on it does not exist here. `random` is not on
it for another reason: the same messages must give the same prompt.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from axiom.chat_limits import Meter, check_bits, check_chars, check_items, joined
from axiom.errors import TemplateError

__all__ = ["ChatEnvironment", "Refusal"]

_MAX_INT_ARGUMENT = 1 << 20
_MAX_WIDTH = 9999
_MAX_WORDS_OF_REFUSAL = 500

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
_WIDTH = re.compile(r"%[^a-zA-Z%]*[0-9]")
_LONG_WIDTH = re.compile(r"%[^a-zA-Z%]*([0-9]{5,}|\*)")


class Refusal(Exception):
    """What a template says by `raise_exception`: these messages are not for it."""


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
        self.filters["sum"] = _sum_of_numbers(self.filters["sum"])
        self.filters = {name: self._metered(call) for name, call in self.filters.items()}
        self.globals = {name: value for name, value in self.globals.items() if name in _GLOBALS}
        self.globals |= {
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        self.meter = Meter()

    def compile_counted(self, source: str) -> Any:
        """Compile `source` with every turn of a loop and call of a macro counted, and every literal weighed."""
        tree = self.parse(source)
        for loop in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(loop, nodes.For | nodes.Macro | nodes.CallBlock)
            loop.body.insert(0, nodes.ExprStmt(_own_call("count_step", [], loop.lineno), lineno=loop.lineno))
        _Checks().visit(tree)
        return self.template_class.from_code(self, self.compile(tree), self.make_globals(None))

    def count_step(self) -> None:
        """Count a step."""
        self.meter.step()

    def made(self, value: Any) -> Any:
        """Count a value that an expression makes."""
        return self.meter.made(value)

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a macro or a block wrote."""
        return self.concatenate(*parts)

    def concatenate(self, *parts: Any) -> str:
        """Compute `a ~ b`."""
        return self._joined("", parts)

    def _joined(self, between: str, parts: Iterable[Any]) -> str:
        text: str = self.meter.made(joined(map(str, parts), between))
        return text

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute a binary operation whose result could be large, after checking that it will not be."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            check_chars(len(left) + len(right))
        elif operator == "+" and isinstance(left, list | tuple) and isinstance(right, list | tuple):
            check_items(len(left) + len(right))
        elif operator == "*":
            for sequence, n in ((left, right), (right, left)):
                if isinstance(n, int) and isinstance(sequence, str):
                    check_chars(len(sequence) * n)
                elif isinstance(n, int) and isinstance(sequence, list | tuple):
                    check_items(len(sequence) * n)
            if isinstance(left, int) and isinstance(right, int):
                check_bits(left.bit_length() + right.bit_length())
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            check_bits(left.bit_length() * abs(right))
        elif operator == "%" and isinstance(left, str):
            if _LONG_WIDTH.search(left):
                raise TemplateError(f"the chat template asked for padding of more than {_MAX_WIDTH} characters")
            # A mapping's values can be named any number of times; of a tuple each is taken once.
            n_fields, width = left.count("%"), _MAX_WIDTH if _WIDTH.search(left) else 0
            values = sum(map(_n_chars, right)) if isinstance(right, tuple) else n_fields * _n_chars(right)
            check_chars(len(left) + values + n_fields * width)
        return self.meter.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method of the template's, after checking that its result will not be large."""
        owner = getattr(__obj, "__self__", None)
        if owner is __self:
            # One of the checks that compiling puts in.
            return __obj(*args)
        if isinstance(owner, str):
            __self._check_str_method(owner, __obj.__name__, args, kwargs)
        _check_numbers(args, kwargs)
        return __self.meter.made(super().call(__context, __obj, *args, **kwargs))

    def _metered(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Count the uses of a filter and what they make. Its value, behind what Jinja itself passes, may be any."""
        n_first = 2 if hasattr(call, "jinja_pass_arg") else 1

        @functools.wraps(call)
        def metered(*args: Any, **kwargs: Any) -> Any:
            self.meter.step()
            _check_numbers(args[n_first:], kwargs)
            return self.meter.made(call(*args, **kwargs))

        return metered

    def _check_str_method(self, owner: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if name not in _STR_METHODS:
            raise TemplateError(f"the chat template calls str.{name}, which templates cannot use here")
        if name == "replace" and len(args) >= 2 and all(isinstance(arg, str) for arg in args[:2]):
            _check_replace(owner, args[0], args[1])
        elif name == "join" and args and isinstance(args[0], list | tuple):
            check_chars(len(owner) * len(args[0]) + sum(map(_n_chars, args[0])))
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
                raise TemplateError(f"the chat template asked for padding of more than {_MAX_WIDTH} characters")
            values = [_n_chars(arg) for arg in (*args, *kwargs.values())]
            check_chars(len(pattern) + pattern.count("{") * max([*values, _MAX_WIDTH]))
            return wrapped(*args, **kwargs)

        return checked

    def _join(self, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            value = (self.getitem(item, attribute) for item in value)
        return self._joined(str(d), value)

    def _replace(self, s: Any, old: Any, new: Any, count: int | None = None) -> str:
        s, old, new = str(s), str(old), str(new)
        _check_replace(s, old, new)
        return str(s.replace(old, new, -1 if count is None else count))

    def _indent(self, s: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
        space = width if isinstance(width, str) else " " * min(int(width), 256)
        lines = str(s).split("\n")
        check_chars(len(str(s)) + len(space) * len(lines))
        shifted = [space + line if line or blank else line for line in lines]
        return "\n".join(shifted if first else [lines[0], *shifted[1:]])


class _GenerationTag(Extension):
    """`{% generation %}` … `{% endgeneration %}`, a mark for training: its body, as it is."""

    tags = {"generation"}  # noqa: RUF012 - as in Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Checks:
    """Has every `a ~ b`, slice and literal of a container go through the environment; Jinja compiles plain ones."""

    def visit(self, node: nodes.Node) -> None:
        for name, value in list(node.iter_fields()):
            if isinstance(value, nodes.Node):
                setattr(node, name, self._replaced(value))
            elif isinstance(value, list):
                value[:] = [self._replaced(item) if isinstance(item, nodes.Node) else item for item in value]

    def _replaced(self, node: nodes.Node) -> nodes.Node:
        self.visit(node)
        if isinstance(node, nodes.Concat):
            return _own_call("concatenate", node.nodes, node.lineno)
        is_literal = isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
        if is_literal or (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)):
            assert isinstance(node, nodes.Expr)
            return _own_call("made", [node], node.lineno)
        return node


class _Namespace(Namespace):
    """What `namespace()` makes. Its values can name each other any number of times, so they are not written out."""

    def __repr__(self) -> str:
        return "<Namespace>"


def _own_call(name: str, args: list[nodes.Expr], lineno: int) -> nodes.Call:
    """Make the call of a method of the environment; a template cannot rename what is reached this way."""
    return nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None, lineno=lineno)


def _check_numbers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if any(isinstance(arg, int) and abs(arg) > _MAX_INT_ARGUMENT for arg in (*args, *kwargs.values())):
        raise TemplateError(f"the chat template passed a number over {_MAX_INT_ARGUMENT} to a function")


def _sum_of_numbers(call: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the filter `sum` to numbers: lists would be copied anew at every step."""

    @functools.wraps(call)
    def summed(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(arg, list | tuple) for arg in (*args[3:], kwargs.get("start"))):
            raise TemplateError("the chat template sums lists; sum() is for numbers here")
        return call(*args, **kwargs)

    return summed


def _check_replace(text: str, old: str, new: str) -> None:
    if len(new) > len(old):
        check_chars(len(text) + text.count(old) * (len(new) - len(old)))


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
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return encoder.encode(value) if indent is None and separators is None else joined(encoder.iterencode(value))


def _raise_exception(message: Any) -> None:
    raise Refusal(str(message)[:_MAX_WORDS_OF_REFUSAL])


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
