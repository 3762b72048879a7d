"""
A deployment on paper: parameters in, all that would be made out, with ids and bodies.

What only Azure knows is a `Runtime`.

Conditions are followed as Azure Resource Manager follows them: what is not made has an id and a name, and nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.infra.bicep.functions import FILES, PURE, SUBSCRIPTION, Runtime, joined
from tests.infra.bicep.reader import read
from tests.infra.bicep.syntax import (
    Array,
    Call,
    Choice,
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
from tests.infra.bicep.tokens import BicepError

_ABOUT_PLACE = ("parent", "scope", "dependsOn")
_COMPARED = {"==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt}
_TYPES = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """Something that is made, or was there; ``body`` is what it is given."""

    type: str
    version: str
    name: str
    id: str
    file: str
    line: int
    made: bool
    existing: bool = False
    within: str = ""
    """Symbol of the module that it is in; empty: none."""
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Module:
    """A file that is deployed into a place, and what comes out of it; not made: nothing does."""

    name: str
    place: str
    made: bool
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)


def deploy(file: Path, parameters: Mapping[str, Any]) -> list[Resource | Module]:
    """Return everything that a deployment to a subscription makes or refers to, the deployment itself last."""
    run = _Run(file, f"/subscriptions/{SUBSCRIPTION}", parameters)
    return [*run.everything(), Module(name="", place=run.place, made=True, outputs=run.outputs())]


class _Run:
    """One file with its parameters, in one place."""

    def __init__(self, file: Path, place: str, parameters: Mapping[str, Any], within: str = "") -> None:
        self.file = file
        self.place = place
        self.within = within
        self.template: Template = read(file)
        self.declared = self.template.of("param", "var", "resource", "module")
        self.values: dict[str, Any] = {}
        self.found: list[Resource | Module] = []
        self._take(parameters)

    def _take(self, given: Mapping[str, Any]) -> None:
        params = self.template.of("param")
        if unknown := set(given) - set(params):
            raise BicepError(0, f"{self.file.name}: no parameter {sorted(unknown)}")
        for name, param in params.items():
            if name not in given and param.value is None:
                raise BicepError(param.line, f"{self.file.name}: {name} is missing")
            value = given[name] if name in given else self.value(param.value, {})
            self._fits(param, value)
            self.values[name] = value

    def _fits(self, param: Declaration, value: Any) -> None:
        if isinstance(value, Runtime):
            return
        if type(value) is not _TYPES[param.type]:
            raise BicepError(param.line, f"{self.file.name}: {param.name} is no {param.type}: {value!r}")
        allowed = param.decorator("allowed")
        if allowed is not None and value not in self.value(allowed, {}):
            raise BicepError(param.line, f"{self.file.name}: {param.name} may not be {value!r}")

    def everything(self) -> list[Resource | Module]:
        for name, declaration in self.declared.items():
            if declaration.kind in ("resource", "module"):
                self.symbol(name)
        return self.found

    def outputs(self) -> dict[str, Any]:
        return {name: self.value(output.value, {}) for name, output in self.template.of("output").items()}

    def symbol(self, name: str) -> Any:
        if name not in self.values:
            if (declaration := self.declared.get(name)) is None:
                raise BicepError(0, f"{self.file.name}: no {name}")
            is_value = declaration.kind == "var"
            self.values[name] = self.value(declaration.value, {}) if is_value else self._loops(declaration)
        return self.values[name]

    def _loops(self, declaration: Declaration) -> Any:
        if isinstance(declaration.value, Loop):
            return [self._made(declaration, local) for local in self.rounds(declaration.value, {})]
        return self._made(declaration, {})

    def rounds(self, loop: Loop, local: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for index, item in enumerate(self.value(loop.over, local)):
            yield {**local, loop.item: item, loop.index: index}

    def _made(self, declaration: Declaration, local: Mapping[str, Any]) -> Resource | Module:
        made = declaration.condition is None or bool(self.value(declaration.condition, local))
        found = (self._module if declaration.kind == "module" else self._resource)(declaration, local, made=made)
        self.found.append(found)
        return found

    def _module(self, declaration: Declaration, local: Mapping[str, Any], *, made: bool) -> Module:
        body = declaration.body
        name = self.value(body.get("name"), local)
        if not made:
            return Module(name=name, place="", made=False)
        place = self.group(body.get("scope"), local)
        given = self.value(body.get("params"), local)
        run = _Run(self.file.parent / declaration.type, place, given, within=declaration.name)
        self.found += run.everything()
        return Module(name=name, place=place, made=True, outputs=run.outputs())

    def group(self, scope: Node | None, local: Mapping[str, Any]) -> str:
        found = self.value(scope, local) if scope is not None else None
        if found is None:
            return self.place
        if isinstance(found, Resource):
            return found.id
        subscription, group = found
        return f"/subscriptions/{subscription}/resourceGroups/{group}"

    def _resource(self, declaration: Declaration, local: Mapping[str, Any], *, made: bool) -> Resource:
        kind, _, version = declaration.type.partition("@")
        body = declaration.body
        above = self._above(declaration, body, local)
        if above is not None and "/" not in kind:
            kind, version = f"{above.type}/{kind}", version or above.version
        name = self.value(body.get("name"), local)
        place = f"{above.id}/{kind.rpartition('/')[2]}" if above else self._onto(kind, body, local)
        own = Object(members=tuple(each for each in body.members if each[0].plain not in _ABOUT_PLACE))
        return Resource(
            type=kind,
            version=version,
            name=name,
            id=f"{place}/{name}",
            file=self.file.name,
            line=declaration.line,
            made=made,
            existing=declaration.existing,
            within=self.within,
            body=self.value(own, local) if made and not declaration.existing else {},
        )

    def _above(self, declaration: Declaration, body: Object, local: Mapping[str, Any]) -> Resource | None:
        if (parent := body.get("parent")) is not None:
            found = self.value(parent, local)
            assert isinstance(found, Resource), declaration
            return found
        around = [
            each for each in self.declared.values() if each.kind == "resource" and declaration in each.body.nested
        ]
        return self.symbol(around[0].name) if around else None

    def _onto(self, kind: str, body: Object, local: Mapping[str, Any]) -> str:
        if kind == "Microsoft.Resources/resourceGroups":
            return f"{self.place}/resourceGroups"
        scope = self.value(body.get("scope"), local) if body.get("scope") is not None else None
        return f"{scope.id if isinstance(scope, Resource) else self.place}/providers/{kind}"

    def value(self, node: Node | None, local: Mapping[str, Any]) -> Any:
        assert node is not None
        return getattr(self, f"_of_{type(node).__name__.lower()}")(node, local)

    def _of_literal(self, node: Literal, _: Mapping[str, Any]) -> Any:
        return node.value

    def _of_text(self, node: Text, local: Mapping[str, Any]) -> str:
        return joined(*(part if isinstance(part, str) else self.value(part, local) for part in node.parts))

    def _of_name(self, node: Name, local: Mapping[str, Any]) -> Any:
        return local[node.name] if node.name in local else self.symbol(node.name)

    def _of_array(self, node: Array, local: Mapping[str, Any]) -> list[Any]:
        return [self.value(item, local) for item in node.items]

    def _of_object(self, node: Object, local: Mapping[str, Any]) -> dict[str, Any]:
        return {self.value(key, local): self.value(value, local) for key, value in node.members}

    def _of_loop(self, node: Loop, local: Mapping[str, Any]) -> list[Any]:
        return [self.value(node.body, inner) for inner in self.rounds(node, local)]

    def _of_choice(self, node: Choice, local: Mapping[str, Any]) -> Any:
        return self.value(node.then if self.value(node.condition, local) else node.otherwise, local)

    def _of_index(self, node: Index, local: Mapping[str, Any]) -> Any:
        return self.value(node.of, local)[self.value(node.at, local)]

    def _of_operation(self, node: Operation, local: Mapping[str, Any]) -> Any:
        first = self.value(node.operands[0], local)
        if len(node.operands) == 1:
            return not first if node.operator == "!" else -first
        if node.operator in ("&&", "||"):
            return self.value(node.operands[1], local) if bool(first) is (node.operator == "&&") else first
        second = self.value(node.operands[1], local)
        return _COMPARED[node.operator](first, second)

    def _of_call(self, node: Call, local: Mapping[str, Any]) -> Any:
        arguments = [self.value(argument, local) for argument in node.arguments]
        if node.function in FILES:
            return FILES[node.function](self.file.parent / arguments[0])
        if node.function not in PURE:
            raise BicepError(node.line, f"{self.file.name}: no function {node.function}")
        return PURE[node.function][2](*arguments)

    def _of_member(self, node: Member, local: Mapping[str, Any]) -> Any:
        if node.nested:
            return self.symbol(node.name)
        of = self.value(node.of, local)
        if isinstance(of, Runtime):
            return Runtime(f"{of}.{node.name}")
        if isinstance(of, dict):
            return of[node.name]
        if isinstance(of, Resource) and node.name in ("id", "name", "type"):
            return getattr(of, node.name)
        if not isinstance(of, Resource | Module) or not of.made:
            raise BicepError(node.line, f"{self.file.name}: .{node.name} of something that is not made")
        if isinstance(of, Module):
            return {"outputs": of.outputs, "name": of.name}[node.name]
        return Runtime(f"<{of.name}>.{node.name}")
