"""The words of Bicep: names, numbers, strings with what is filled in, marks, ends of lines. Comments are left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_MARKS = ("::", "??", ".?", "[?", "==", "!=", "=~", "!~", "<=", ">=", "&&", "||", "=>", *"{}[]():,.?!=<>+-*/%@")
_WORD = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"\d+")
_SKIPPED = re.compile(r"[ \t]+|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LONG_TEXT = re.compile(r"'''\n?(.*?)'''", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", "\\": "\\", "$": "$"}


class BicepError(Exception):
    """A template that Bicep would refuse, or that is beyond this reader."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")


@dataclass(frozen=True, slots=True)
class Token:
    """One word. The value of a text is its parts: strings, and lists of tokens where something is filled in."""

    kind: str
    value: Any
    line: int


def tokens(text: str) -> list[Token]:
    """Return the words of a file; the last is its end."""
    found, _ = _until(text.replace("\r\n", "\n"), 0, stop="")
    return found


def _until(text: str, at: int, *, stop: str) -> tuple[list[Token], int]:
    """Read up to the mark that closes what is filled into a string, or to the end of the file."""
    found: list[Token] = []
    depth = 0
    while at < len(text):
        if skipped := _SKIPPED.match(text, at):
            at = skipped.end()
        elif stop and depth == 0 and text[at] == stop:
            return [*found, Token("end", "", _line(text, at))], at + 1
        else:
            token, at = _one(text, at)
            depth += {"{": 1, "}": -1}.get(token.value, 0) if token.kind == "mark" else 0
            found.append(token)
    if stop:
        raise BicepError(_line(text, at), "what is filled into a string has no end")
    return [*found, Token("end", "", _line(text, at))], at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _one(text: str, at: int) -> tuple[Token, int]:
    line = _line(text, at)
    if text[at] == "\n":
        return Token("newline", "\n", line), at + 1
    if found := _LONG_TEXT.match(text, at):
        return Token("text", [found[1]], line), found.end()
    if text[at] == "'":
        return _text(text, at + 1, line)
    for kind, pattern in (("word", _WORD), ("number", _NUMBER)):
        if found := pattern.match(text, at):
            return Token(kind, found[0], line), found.end()
    for mark in _MARKS:
        if text.startswith(mark, at):
            return Token("mark", mark, line), at + len(mark)
    raise BicepError(line, f"unexpected {text[at]!r}")


def _text(text: str, at: int, line: int) -> tuple[Token, int]:
    parts: list[Any] = [""]
    while at < len(text) and text[at] != "\n":
        if text[at] == "'":
            return Token("text", parts, line), at + 1
        if text.startswith("${", at):
            inner, at = _until(text, at + 2, stop="}")
            parts += [inner, ""]
        elif text[at] == "\\":
            if text[at + 1] not in _ESCAPES:
                raise BicepError(line, f"unknown escape \\{text[at + 1]}")
            parts[-1] += _ESCAPES[text[at + 1]]
            at += 2
        else:
            parts[-1] += text[at]
            at += 1
    raise BicepError(line, "a string has no end")
