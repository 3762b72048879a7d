"""
Templates as data, by recursive descent. Stricter than the parsers that there are: what needs a new line has one.

Source: Azure/bicep, docs/grammar.md. What our templates do not use (types, functions, imports) is refused.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.infra.bicep.syntax import (
    Array,
    Call,
    Choice,
    Conditional,
    Declaration,
    Index,
    Literal,
    Loop,
    Member,
    Name,
    Node,
    Object,
    Operation,
    Template,
    Text,
)
from tests.infra.bicep.tokens import BicepError, Token, tokens

_TYPES = frozenset({"string", "int", "bool", "object", "array"})
_LEVELS = (("??",), ("||",), ("&&",), ("==", "!=", "=~", "!~"), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
_WORDS = {"true": True, "false": False, "null": None}


@cache
def read(file: Path) -> Template:
    """Return a file as data."""
    return parse(file.read_text("utf-8"))


def parse(text: str) -> Template:
    """Return a text as data."""
    return _Reader(tokens(text)).template()


class _Reader:
    def __init__(self, words: list[Token]) -> None:
        self.words = words
        self.at = 0

    @property
    def next(self) -> Token:
        return self.words[self.at]

    def refuse(self, text: str) -> BicepError:
        return BicepError(self.next.line, f"{text}, found {self.next.value!r}")

    def take(self, kind: str, value: str = "") -> Token | None:
        token = self.next
        if token.kind != kind or (value and token.value != value):
            return None
        self.at += 1
        return token

    def want(self, kind: str, value: str = "") -> Token:
        if (token := self.take(kind, value)) is None:
            raise self.refuse(f"expected {value or kind}")
        return token

    def newlines(self) -> bool:
        before = self.at
        while self.take("newline"):
            pass
        return self.at > before

    def template(self) -> Template:
        scope = "resourceGroup"
        declarations = []
        self.newlines()
        while self.next.kind != "end":
            if self.take("word", "targetScope"):
                self.want("mark", "=")
                scope = self.plain()
            else:
                declarations.append(self.declaration())
            if not self.newlines() and self.next.kind != "end":
                raise self.refuse("expected a new line")
        return Template(scope=scope, declarations=tuple(declarations))

    def plain(self) -> str:
        text = self.text(self.want("text"))
        if text.plain is None:
            raise self.refuse("expected a string with nothing filled in")
        return text.plain

    def declaration(self) -> Declaration:
        decorators = []
        while self.take("mark", "@"):
            called = self.primary()
            if not isinstance(called, Call) or not self.newlines():
                raise self.refuse("expected a decorator on a line of its own")
            decorators.append(called)
        token = self.want("word")
        name = self.want("word").value
        found = getattr(self, f"_{token.value}", None)
        if found is None:
            raise BicepError(token.line, f"{token.value} is beyond this reader")
        made: Declaration = found(token, name, tuple(decorators))
        return made

    def type(self) -> str:
        token = self.want("word")
        if token.value not in _TYPES:
            raise BicepError(token.line, f"no type {token.value}")
        return str(token.value)

    def _param(self, token: Token, name: str, decorators: tuple[Call, ...]) -> Declaration:
        kind = self.type()
        value = self.expression() if self.take("mark", "=") else None
        return Declaration(line=token.line, kind="param", name=name, type=kind, value=value, decorators=decorators)

    def _var(self, token: Token, name: str, decorators: tuple[Call, ...]) -> Declaration:
        self.want("mark", "=")
        value = self.loop() or self.expression()
        return Declaration(line=token.line, kind="var", name=name, value=value, decorators=decorators)

    def _output(self, token: Token, name: str, decorators: tuple[Call, ...]) -> Declaration:
        kind = self.type()
        self.want("mark", "=")
        value = self.loop() or self.expression()
        return Declaration(line=token.line, kind="output", name=name, type=kind, value=value, decorators=decorators)

    def _resource(self, token: Token, name: str, decorators: tuple[Call, ...]) -> Declaration:
        kind = self.plain()
        existing = self.take("word", "existing") is not None
        self.want("mark", "=")
        value = self.made()
        return Declaration(
            line=token.line,
            kind="resource",
            name=name,
            type=kind,
            existing=existing,
            value=value,
            decorators=decorators,
        )

    def _module(self, token: Token, name: str, decorators: tuple[Call, ...]) -> Declaration:
        kind = self.plain()
        self.want("mark", "=")
        value = self.made()
        return Declaration(line=token.line, kind="module", name=name, type=kind, value=value, decorators=decorators)

    def made(self) -> Node:
        """Read what a resource or module is: an object, under a condition or in a loop."""
        return self.loop() or self.conditional() or self.object(self.want("mark", "{"))

    def conditional(self) -> Node | None:
        if (token := self.take("word", "if")) is None:
            return None
        self.want("mark", "(")
        condition = self.expression()
        self.want("mark", ")")
        return Conditional(line=token.line, condition=condition, body=self.object(self.want("mark", "{")))

    def loop(self) -> Node | None:
        before = self.at
        token = self.take("mark", "[")
        self.newlines()
        if token is None or not self.take("word", "for"):
            self.at = before
            return None
        if self.take("mark", "("):
            item = self.want("word").value
            self.want("mark", ",")
            index = self.want("word").value
            self.want("mark", ")")
        else:
            item, index = self.want("word").value, ""
        self.want("word", "in")
        over = self.expression()
        self.want("mark", ":")
        body = self.conditional() or self.expression()
        self.newlines()
        self.want("mark", "]")
        return Loop(line=token.line, item=item, index=index, over=over, body=body)

    def expression(self) -> Node:
        condition = self.binary(0)
        if not self.take("mark", "?"):
            return condition
        then = self.expression()
        self.want("mark", ":")
        return Choice(line=condition.line, condition=condition, then=then, otherwise=self.expression())

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.next.kind == "mark" and self.next.value in _LEVELS[level]:
            operator = self.want("mark").value
            left = Operation(line=left.line, operator=operator, operands=(left, self.binary(level + 1)))
        return left

    def unary(self) -> Node:
        for operator in ("!", "-"):
            if token := self.take("mark", operator):
                return Operation(line=token.line, operator=operator, operands=(self.unary(),))
        return self.postfix(self.primary())

    def postfix(self, node: Node) -> Node:
        while True:
            forced = self.take("mark", "!") is not None
            mark = next((mark for mark in (".", ".?", "::", "[") if self.take("mark", mark)), "")
            if not mark:
                if forced:
                    raise self.refuse("expected a property after !")
                return node
            if mark == "[":
                node = Index(line=node.line, of=node, at=self.expression())
                self.want("mark", "]")
            else:
                name = self.want("word").value
                node = Member(line=node.line, of=node, name=name, forced=forced, safe=mark == ".?", nested=mark == "::")

    def primary(self) -> Node:
        token = self.next
        self.at += 1
        if token.kind == "word":
            return self.word(token)
        if token.kind == "number":
            return Literal(line=token.line, value=int(token.value))
        if token.kind == "text":
            return self.text(token)
        if token.kind == "mark" and token.value in "({[":
            return {"(": self.inner, "{": self.object, "[": self.array}[token.value](token)
        self.at -= 1
        raise self.refuse("expected an expression")

    def word(self, token: Token) -> Node:
        if token.value in _WORDS:
            return Literal(line=token.line, value=_WORDS[token.value])
        return self.call(token) if self.take("mark", "(") else Name(line=token.line, name=token.value)

    def inner(self, _: Token) -> Node:
        found = self.expression()
        self.want("mark", ")")
        return found

    def text(self, token: Token) -> Text:
        parts = [part if isinstance(part, str) else _Reader(part).filled_in() for part in token.value]
        return Text(line=token.line, parts=tuple(part for part in parts if part != ""))

    def filled_in(self) -> Node:
        found = self.expression()
        self.want("end")
        return found

    def call(self, token: Token) -> Call:
        arguments: list[Node] = []
        self.newlines()
        while not self.take("mark", ")"):
            if arguments:
                self.want("mark", ",")
                self.newlines()
            arguments.append(self.expression())
            self.newlines()
        return Call(line=token.line, function=token.value, arguments=tuple(arguments))

    def separated(self, closing: str) -> bool:
        """Read what stands between two items; tell whether there is another."""
        comma = self.take("mark", ",")
        new_line = self.newlines()
        if self.take("mark", closing):
            return False
        if not comma and not new_line:
            raise self.refuse("expected a comma or a new line")
        return True

    def array(self, token: Token) -> Array:
        items = []
        self.newlines()
        more = not self.take("mark", "]")
        while more:
            items.append(self.expression())
            more = self.separated("]")
        return Array(line=token.line, items=tuple(items))

    def object(self, token: Token) -> Object:
        members = []
        nested = []
        self.newlines()
        more = not self.take("mark", "}")
        while more:
            if self.next.value == "resource" and self.words[self.at + 1].kind == "word":
                nested.append(self.declaration())
            else:
                members.append(self.member())
            more = self.separated("}")
        return Object(line=token.line, members=tuple(members), nested=tuple(nested))

    def member(self) -> tuple[Text, Node]:
        token = self.next
        self.at += 1
        if token.kind not in ("word", "text"):
            self.at -= 1
            raise self.refuse("expected a name")
        key = self.text(token) if token.kind == "text" else Text(line=token.line, parts=(token.value,))
        self.want("mark", ":")
        return key, self.loop() or self.expression()
