"""A model's chat template: a conversation as the one text that the model was taught to go on with.

Templates come with the model, from strangers. They run in jinja2's sandbox, which keeps them from everything
but the conversation; and on a budget, because a sandbox alone lets a line of template fill the memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sized, ValuesView
from datetime import datetime
from functools import wraps
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from crystalline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jinja2.parser import Parser
    from jinja2.runtime import Context

__all__ = ["render"]

_TEMPLATE_CHARACTERS_MAX: Final = 1 << 18  # the longest in use have some 20,000
_STEPS: Final = 2_000_000  # about a second
_STEPS_PER_CHARACTER: Final = 50

_STEPS_OF_A_TURN: Final = 4
_STEPS_OF_A_CALL: Final = 8
_NODES_OF_A_STEP: Final = 8  # of the program, where it runs straight on
_LOOKED_AT_IN_A_STEP: Final = 32  # characters that are compared or searched, but not copied
_BITS_OF_A_STEP: Final = 8  # of a whole number that is made
_DIVISION_OF_A_STEP: Final = 450_000  # bits of one number times bits of the other

_NUMBER: Final = re.compile(r"\d+")
_WIDENING: Final = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})

# Methods that make something of other kinds, whose costs nobody counts here.
_DENIED: Final = frozenset({"encode", "to_bytes", "translate"})

# Tests that look no further than at the value itself; the others compare.
_LIGHT_TESTS: Final = frozenset(
    {
        *("boolean", "callable", "defined", "false", "filter", "float", "integer", "iterable", "mapping"),
        *("none", "number", "sameas", "sequence", "string", "test", "true", "undefined"),
    }
)

# Filters whose cost does not grow with what they are given; the others are charged for it. What is on neither
# list is not known to a template here.
_LIGHT: Final = frozenset({"attr", "count", "d", "default", "first", "items", "last", "length"})
_HEAVY: Final = frozenset(
    {
        *("abs", "capitalize", "dictsort", "e", "escape", "float", "indent", "int", "join", "list", "lower"),
        *("map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select"),
        *("selectattr", "sort", "string", "title", "tojson", "trim", "truncate", "unique", "upper"),
        *("urlencode", "wordcount"),
    }
)


class _Refusal(jinja2.TemplateError):
    """The template itself says that a conversation cannot be."""


class _TooMuch(jinja2.TemplateError):
    """The budget is used up."""


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    *,
    begin_token: str = "",
    end_token: str = "",
    add_generation_prompt: bool = True,
) -> str:
    """The text of a conversation.

    The template sees what `transformers` shows it: messages, bos_token, eos_token, add_generation_prompt,
    raise_exception, strftime_now, the filter tojson, the tags break, continue and generation. It may take
    two million steps, and fifty more for each character of the conversation; making a character or an item
    of a list is a step, each turn of a loop takes four, each call eight, and both more if what they run is
    long; comparing takes a step for each item or 32 characters.

    Args:
        template: in the language of jinja2.
        messages: with role ("system", "user" or "assistant") and content.
        begin_token: the text of the token that begins a text.
        end_token: the text of the token that ends one.
        add_generation_prompt: whether the text ends where the model's answer begins.

    Raises:
        InputError: the template is damaged, does too much, or refuses the conversation.
    """
    if len(template) > _TEMPLATE_CHARACTERS_MAX:
        raise InputError(f"the chat template has {len(template)} characters: no template needs that many")
    size = sum(len(text) for message in messages for text in message.values())
    environment = _Environment(_Budget(_STEPS + _STEPS_PER_CHARACTER * size))
    try:
        return environment.from_string(template).render(
            messages=[dict(message) for message in messages],
            bos_token=begin_token,
            eos_token=end_token,
            add_generation_prompt=add_generation_prompt,
        )
    except _Refusal as error:
        raise InputError(f"the model's chat template refuses the conversation: {_words(error)}") from error
    except (Exception, MemoryError, RecursionError) as error:
        # Whatever a stranger's program may do wrong: a wrong type, a missing key, a division by zero.
        raise InputError(
            f"the model's chat template cannot be used ({type(error).__name__.strip('_')}: {_words(error)}): "
            "use another model, or mend the template"
        ) from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


class _Budget:
    """What a template may still do."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Pay for something before it is done."""
        self._left -= steps
        if self._left < 0:
            raise _TooMuch("it does far more than writing a conversation takes")

    def weigh(self, value: Any, characters: int = 1) -> int:
        """How long the text of a value is at least, counted no further than can be paid for.

        What is in it several times counts each time: so it is written out, compared and hashed.

        Args:
            value: anything.
            characters: so many of a text count as one.
        """
        weight, pending = 0, [value]
        while pending and weight <= self._left:
            each = pending.pop()
            weight += 1
            if isinstance(each, str):
                weight += len(each) // characters
            elif isinstance(each, int):
                weight += each.bit_length() // 3
            elif isinstance(each, range):
                weight += len(each)
            elif isinstance(each, Mapping):
                pending += [*each.keys(), *each.values()]
            elif isinstance(each, list | tuple | set | KeysView | ValuesView | ItemsView):
                pending += each
        return weight


class _Namespace(Namespace):
    """jinja2's, which would write out all that is in it."""

    def __repr__(self) -> str:
        return "<Namespace>"


class _Environment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox as `transformers` sets it up, in which everything that makes something is paid for."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self, budget: _Budget) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self._budget = budget
        self.filters = {
            name: self._charged(name, function)
            for name, function in {**self.filters, "tojson": _to_json}.items()
            if name in _LIGHT | _HEAVY
        }
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {
            name: test if name in _LIGHT_TESTS else self._charged_test(test) for name, test in tests.items()
        }
        del self.globals["lipsum"]
        self.globals |= {"namespace": _Namespace, "raise_exception": _refuse, "strftime_now": self._now}

    def put(self, value: Any) -> Any:
        """Pay for a value that is to be written out."""
        self._budget.spend(self._budget.weigh(value))
        return value

    def joined(self, *values: Any) -> str:
        """What the operator ~ does."""
        self._budget.spend(sum(map(self._budget.weigh, values)))
        return "".join(map(str, values))

    def compared(self, value: Any) -> Any:
        """Pay for a value that is to be compared, searched, or hashed."""
        self._budget.spend(self._budget.weigh(value, _LOOKED_AT_IN_A_STEP))
        return value

    def tick(self, nodes_inside: int) -> bool:
        """Pay for a turn of a loop, or of a macro, with so much of the program in it."""
        self._budget.spend(_STEPS_OF_A_TURN + nodes_inside // _NODES_OF_A_STEP)
        return True

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Pay for an operator's result, then do it."""
        self._budget.spend(self._cost(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Pay for an operator's result, then do it."""
        self._budget.spend(self._cost(operator, arg, 0))
        return super().call_unop(context, operator, arg)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Pay for what a function or method will make, then call it."""
        inner = getattr(function, "__wrapped__", function)
        if _is_pythons(inner):
            args = tuple(self._counted(each) for each in args)
        self._budget.spend(_STEPS_OF_A_CALL + self._cost_of_call(inner, [*args, *kwargs.values()]))
        return super().call(context, function, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may see an attribute."""
        return attr not in _DENIED and super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Pay for a slice, or for finding a key."""
        if isinstance(argument, slice) and isinstance(obj, Sized):
            self._budget.spend(len(obj))
        self.compared(argument)
        return super().getitem(obj, argument)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _metered(super()._parse(source, name, filename))

    def _cost(self, operator: str, left: Any, right: Any) -> int:
        match operator, left, right:
            case _, int(), int():
                return _cost_of_arithmetic(operator, left, right)
            case ("*", int() as times, Sized() as value) | ("*", Sized() as value, int() as times):
                return 1 + len(value) * max(times, 0)
            case "%", str(), _:
                return self._cost_of_format(left, [right])
            case "+", Sized(), Sized():
                return 1 + len(left) + len(right)
            case _:
                return 1

    def _cost_of_call(self, function: Any, arguments: Sequence[Any]) -> int:
        text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        if not isinstance(text, str):
            looked_at = [text, *arguments] if _is_pythons(function) else []
            weights = (self._budget.weigh(each, _LOOKED_AT_IN_A_STEP) for each in looked_at)
            return len(arguments) + _sum_of_numbers(arguments) + sum(weights)
        if name in _WIDENING:
            return len(text) + (1 + text.count("\t")) * _sum_of_numbers(arguments)
        if name in {"format", "format_map"}:
            return self._cost_of_format(text, arguments)
        if name == "replace":
            return _cost_of_replace(text, arguments)
        if name == "join":
            return self._cost_of_join(arguments[:1], text)
        return 1 + len(text) + sum(map(self._budget.weigh, arguments))

    def _cost_of_filter(self, name: str, value: Any, arguments: Sequence[Any]) -> int:
        match name, value:
            case "replace", _:
                return _cost_of_replace(str(self.put(value)), arguments)
            case "join", _:
                return self._cost_of_join([value], arguments[0] if arguments else "")
            case "indent", str():
                return len(value) + (1 + value.count("\n")) * (
                    _sum_of_numbers(arguments) + sum(map(self._budget.weigh, arguments))
                )
            case "tojson", _:
                nested = 1 + _sum_of_numbers(arguments) + sum(map(self._budget.weigh, arguments))
                return nested * self._budget.weigh(value)
            case _:
                items = len(value) if isinstance(value, Sized) and not isinstance(value, str) else 1
                settings = sum(self._budget.weigh(each, _LOOKED_AT_IN_A_STEP) for each in arguments)
                return self._budget.weigh(value) + _sum_of_numbers(arguments) + items * settings

    def _cost_of_format(self, form: str, arguments: Sequence[Any]) -> int:
        """Widths and precisions stand in the format as numbers, or are arguments."""
        widths = sum(int(found[:9]) for found in _NUMBER.findall(form)) + _sum_of_numbers(arguments)
        fields = 1 + form.count("%") + form.count("{")
        return len(form) + widths + fields * sum(map(self._budget.weigh, arguments))

    def _cost_of_join(self, values: Sequence[Any], between: Any) -> int:
        items = sum(len(value) for value in values if isinstance(value, Sized))
        return self._budget.weigh(list(values)) + items * self._budget.weigh(between)

    def _charged(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        passed = 1 if hasattr(function, "jinja_pass_arg") else 0  # the context or the like, before the value

        @wraps(function)  # also what the library has noted about it
        def paid(*args: Any, **kwargs: Any) -> Any:
            if name not in _LIGHT and len(args) > passed:
                value, *others = args[passed:]
                value = self._counted(value)
                self._budget.spend(1 + self._cost_of_filter(name, value, [*others, *kwargs.values()]))
                args = (*args[:passed], value, *others)
            return function(*args, **kwargs)

        return paid

    def _charged_test(self, test: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(test)
        def paid(*args: Any, **kwargs: Any) -> Any:
            return test(*map(self.compared, args), **kwargs)

        return paid

    def _counted(self, value: Any) -> Any:
        """The value; in the place of an iterator its items, which must be seen to be counted."""
        return [self.put(each) for each in value] if isinstance(value, Iterator) else value

    def _now(self, form: str) -> str:
        self._budget.spend(self._cost_of_format(form, []))
        return datetime.now().strftime(form)  # noqa: DTZ005  (the user's own day is what templates ask for)


class _Generation(Extension):
    """`{% generation %}`, which marks the model's own words for training; here it does nothing."""

    tags = {"generation"}  # noqa: RUF012  (the library's)

    def parse(self, parser: Parser) -> nodes.Node:
        """Keep what is inside."""
        line = next(parser.stream).lineno
        inside = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(inside, lineno=line)


def _metered(tree: nodes.Template) -> nodes.Template:
    """The template, in which what is run again, written out or compared is paid for."""
    bodies: list[nodes.For | nodes.Macro | nodes.CallBlock] = [
        *tree.find_all(nodes.For),
        *tree.find_all(nodes.Macro),
        *tree.find_all(nodes.CallBlock),
    ]
    for again in bodies:
        line = again.lineno
        tick = _call("tick", [nodes.Const(_nodes_inside(again), lineno=line)], line)
        again.body.insert(0, nodes.ExprStmt(tick, lineno=line))
        if isinstance(again, nodes.For) and again.test is not None:
            again.test = nodes.And(tick, again.test, lineno=line)
    for output in tree.find_all(nodes.Output):
        output.nodes = [_paid(node) for node in output.nodes]
    for comparison in tree.find_all(nodes.Compare):
        comparison.expr = _compared(comparison.expr)
        for operand in comparison.ops:
            operand.expr = _compared(operand.expr)
    for pair in tree.find_all(nodes.Pair):
        pair.key = _compared(pair.key)
    _replace_concatenations(tree)
    return tree


def _nodes_inside(node: nodes.Node) -> int:
    return sum(1 for _ in node.find_all(nodes.Node))


def _compared(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _call("compared", [node], node.lineno)


def _paid(node: nodes.Expr) -> nodes.Expr:
    value = nodes.Const(node.data, lineno=node.lineno) if isinstance(node, nodes.TemplateData) else node
    return _call("put", [value], node.lineno)


def _replace_concatenations(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, name, [_unconcatenated(each) for each in value])
        else:
            setattr(node, name, _unconcatenated(value))
    for child in node.iter_child_nodes():
        _replace_concatenations(child)


def _unconcatenated(value: Any) -> Any:
    return _call("joined", value.nodes, value.lineno) if isinstance(value, nodes.Concat) else value


def _call(method: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    function = nodes.EnvironmentAttribute(method, lineno=line)
    return nodes.Call(function, arguments, [], None, None, lineno=line)


def _is_pythons(function: Any) -> bool:
    """Whether a function is none of a template's own, but a method or a type, which may copy or compare."""
    return isinstance(function, BuiltinMethodType | type)


def _cost_of_arithmetic(operator: str, left: int, right: int) -> int:
    sizes = left.bit_length(), right.bit_length()
    if operator == "**":
        return 1 + sizes[0] * abs(right)
    divided = sizes[0] * sizes[1] // _DIVISION_OF_A_STEP if operator in {"//", "%"} else 0
    return 1 + sum(sizes) // _BITS_OF_A_STEP + divided


def _sum_of_numbers(arguments: Sequence[Any]) -> int:
    """The sum of whole numbers, also of those in tuples: all arguments that could be a width or a count."""
    flat = [part for each in arguments for part in (each if isinstance(each, tuple) else (each,))]
    return sum(abs(each) for each in flat if isinstance(each, int))


def _cost_of_replace(text: str, arguments: Sequence[Any]) -> int:
    old, new = [str(each) for each in arguments[:2]] if len(arguments) > 1 else ["", ""]
    return 1 + len(text) + text.count(old) * len(new)


def _refuse(text: str) -> NoReturn:
    raise _Refusal(text)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002  (as transformers has it)
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002  (the same)
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
