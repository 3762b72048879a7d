"""
Parses the FHIRPath subset of SQL on FHIR.

A Pratt parser over a small lexer: expressions are a few dozen characters long, and every construct outside the subset
is refused by name, which a general grammar cannot do. Source: FHIRPath 2.0.0 (http://hl7.org/fhirpath/N1/), grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from insights.errors import ViewError


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal; `kind` is string, integer, decimal, boolean, date, dateTime, time or empty."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class This:
    """The focus, `$this`; also where a path starts."""


@dataclass(frozen=True, slots=True)
class Name:
    """`%name`: a constant, or an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`base.name(arguments)`."""

    base: Expression
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`."""

    base: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Unary:
    """`-operand`, `+operand`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


Expression: TypeAlias = Literal | This | Name | Member | Call | Index | Unary | Binary

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<moment>@(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?
        |\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)?(?:Z|[+-]\d\d:\d\d)?)?))
    |(?P<decimal>\d+\.\d+)
    |(?P<integer>\d+)
    |(?P<string>'(?:\\.|[^'\\])*')
    |(?P<quoted>`(?:\\.|[^`\\])*`)
    |(?P<variable>%(?:[A-Za-z_]\w*|`[^`]*`|'[^']*'))
    |(?P<special>\$[a-z]+)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<symbol><=|>=|!=|!~|[-+*/&|=~<>()\[\]{}.,])
    )""",
    re.VERBOSE,
)

_BINDING = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "contains": 4,
    "=": 5,
    "!=": 5,
    "~": 5,
    "!~": 5,
    "<": 6,
    ">": 6,
    "<=": 6,
    ">=": 6,
    "|": 7,
    "is": 8,
    "as": 8,
    "+": 9,
    "-": 9,
    "&": 9,
    "*": 10,
    "/": 10,
    "div": 10,
    "mod": 10,
}
"""Operators by precedence; higher binds tighter (FHIRPath 2.0.0, section 6.8)."""

_SIGN = 11
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


def parse(text: str) -> Expression:
    """
    Parse a path.

    Raises
    ------
    ViewError
        ``view.path_syntax``, with the position.
    """
    parser = _Parser(text)
    expression = parser.expression(0)
    parser.end()
    return expression


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(at)
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind), match.start(kind)))
            at = match.end()
        self._next = 0

    def expression(self, least: int) -> Expression:
        left = self._signed()
        while (operator := self._operator()) and _BINDING[operator] > least:
            self._next += 1
            left = Binary(operator, left, self.expression(_BINDING[operator]))
        return left

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._wrong(self._tokens[self._next][2])

    def _operator(self) -> str | None:
        kind, token, _ = self._peek()
        return token if kind in ("symbol", "word") and token in _BINDING else None

    def _signed(self) -> Expression:
        if self._peek()[:2] in (("symbol", "-"), ("symbol", "+")):
            operator = self._take()[1]
            return Unary(operator, self.expression(_SIGN))
        return self._postfix(self._term())

    def _postfix(self, base: Expression) -> Expression:
        while True:
            if self._accept("."):
                base = self._invocation(base)
            elif self._accept("["):
                base = Index(base, self.expression(0))
                self._expect("]")
            else:
                return base

    def _invocation(self, base: Expression) -> Expression:
        kind, token, at = self._take()
        if kind == "quoted":
            token = _unescape(token)
        elif kind != "word":
            raise self._wrong(at)
        if not self._accept("("):
            return Member(base, token)
        arguments: list[Expression] = []
        while not self._accept(")"):
            if arguments:
                self._expect(",")
            arguments.append(self.expression(0))
        return Call(base, token, tuple(arguments))

    def _term(self) -> Expression:  # noqa: PLR0911 -- one return per kind of token
        kind, token, at = self._take()
        if kind == "string":
            return Literal("string", _unescape(token))
        if kind in ("integer", "decimal"):
            return Literal(kind, token)
        if kind == "moment":
            return _moment(token)
        if kind == "variable":
            return Name(token[1:].strip("`'"))
        if (kind, token) == ("special", "$this"):
            return This()
        if kind == "word" and token in ("true", "false"):
            return Literal("boolean", token)
        if kind in ("word", "quoted"):
            self._next -= 1
            return self._invocation(This())
        if (kind, token) == ("symbol", "("):
            inner = self.expression(0)
            self._expect(")")
            return inner
        if (kind, token) == ("symbol", "{"):
            self._expect("}")
            return Literal("empty", "")
        raise self._wrong(at)

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "", len(self._text))

    def _take(self) -> tuple[str, str, int]:
        token = self._peek()
        if token[0] == "end":
            raise self._wrong(token[2])
        self._next += 1
        return token

    def _accept(self, symbol: str) -> bool:
        kind, token, _ = self._peek()
        if kind != "symbol" or token != symbol:
            return False
        self._next += 1
        return True

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise self._wrong(self._peek()[2])

    def _wrong(self, at: int) -> ViewError:
        return ViewError(f"{self._text!r} is not FHIRPath from character {at + 1} on", code="view.path_syntax")


def _moment(token: str) -> Literal:
    text = token[1:]
    if text.startswith("T"):
        return Literal("time", text[1:])
    return Literal("dateTime" if "T" in text else "date", text.removesuffix("T"))


def _unescape(token: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code[1:], 16)) if code.startswith("u") else _ESCAPES.get(code, code)

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", one, token[1:-1], flags=re.DOTALL)
