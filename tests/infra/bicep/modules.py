"""Slips between files: what modules are given and give, on what they wait, under what resources stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.infra.bicep.functions import RESULTS
from tests.infra.bicep.reader import read
from tests.infra.bicep.syntax import (
    Array,
    Call,
    Choice,
    Declaration,
    Literal,
    Loop,
    Member,
    Name,
    Node,
    Object,
    Operation,
    Template,
    Text,
    inside,
)

_KINDS = {bool: "bool", int: "int"}
_WRITTEN = {Text: "string", Array: "array", Loop: "array", Object: "object"}


def faults(file: Path) -> Iterator[str]:
    """Give what is wrong between a file and the modules that it uses, and with parents and types within it."""
    template = read(file)
    for module in template.of("module").values():
        yield from _given(file, template, module)
    for node in inside(template):
        if isinstance(node, Member):
            yield from _outputs(file, template, node)
    for resource in template.of("resource").values():
        yield from _under(template, resource)
    for declaration in template.of("param", "output").values():
        if declaration.value is not None:
            yield from _wrong_type(file, template, declaration.value, declaration.type, declaration.name)
    yield from _cycles(template)


def _given(file: Path, template: Template, module: Declaration) -> Iterator[str]:
    target = file.parent / module.type
    if not target.exists():
        yield f"line {module.line}: there is no {module.type}"
        return
    params = module.body.get("params")
    given = params.keys() if isinstance(params, Object) else []
    wanted = read(target).of("param")
    for name in wanted.keys() - set(given):
        if wanted[name].value is None:
            yield f"line {module.line}: {module.name} is not given {name}"
    for name in given:
        if name not in wanted:
            yield f"line {module.line}: {module.type} takes no {name}"
            continue
        assert isinstance(params, Object)
        value = params.get(name)
        assert value is not None
        yield from _wrong_type(file, template, value, wanted[name].type, f"{module.name}: {name}")
        allowed = wanted[name].decorator("allowed")
        values = (
            [item.plain for item in allowed.items if isinstance(item, Text)] if isinstance(allowed, Array) else None
        )
        if values is not None and isinstance(value, Text) and value.plain not in values:
            yield f"line {value.line}: {name} may be {values}"
    if unknown := set(module.body.keys()) - {"name", "scope", "params", "dependsOn"}:
        yield f"line {module.line}: a module has no {sorted(unknown)}"


def _outputs(file: Path, template: Template, node: Member) -> Iterator[str]:
    """Look at ``module.outputs.name``."""
    of = node.of
    if not (isinstance(of, Member) and of.name == "outputs" and isinstance(of.of, Name)):
        return
    module = template.of("module").get(of.of.name)
    if module is not None and node.name not in read(file.parent / module.type).of("output"):
        yield f"line {node.line}: {module.type} has no output {node.name}"


def _wrong_type(file: Path, template: Template, value: Node, wanted: str, name: str) -> Iterator[str]:
    kinds = {kind for kind in types(file, template, value) if kind}
    if kinds - {wanted}:
        yield f"line {value.line}: {name} wants {wanted}, not {sorted(kinds - {wanted})}"


def types(file: Path, template: Template, node: Node) -> set[str]:
    """Return the types that an expression may have; empty: only Azure knows."""
    if isinstance(node, Choice):
        return types(file, template, node.then) | types(file, template, node.otherwise)
    if isinstance(node, Call) and node.function == "union":
        return set().union(*(types(file, template, each) for each in node.arguments))
    if isinstance(node, Name):
        return _types_of_name(file, template, node.name)
    if isinstance(node, Member):
        return _types_of_member(file, template, node)
    return {kind for kind in (_type_of_value(node),) if kind}


def _type_of_value(node: Node) -> str:
    """Return the type of what says it by itself."""
    if isinstance(node, Literal):
        return _KINDS.get(type(node.value), "")
    if isinstance(node, Operation):
        return {"-": "int", "??": ""}.get(node.operator, "bool")
    if isinstance(node, Call):
        return RESULTS.get(node.function, "")
    return _WRITTEN.get(type(node), "")


def _types_of_name(file: Path, template: Template, name: str) -> set[str]:
    found = template.of("param", "var").get(name)
    if found is None or found.kind == "param":
        return {found.type} if found else set()
    assert found.value is not None
    return types(file, template, found.value)


def _types_of_member(file: Path, template: Template, node: Member) -> set[str]:
    """Return what an output is declared as; ids and names are strings."""
    of = node.of
    if isinstance(of, Member) and of.name == "outputs" and isinstance(of.of, Name):
        module = template.of("module").get(of.of.name)
        output = read(file.parent / module.type).of("output").get(node.name) if module else None
        return {output.type} if output else set()
    is_resource = isinstance(of, Name) and of.name in template.of("resource")
    return {"string"} if is_resource and node.name in ("id", "name", "type") else set()


def _under(template: Template, resource: Declaration) -> Iterator[str]:
    parent = resource.body.get("parent")
    found = next((each for each in inside(parent) if isinstance(each, Name)), None) if parent else None
    above = template.of("resource").get(found.name) if found else None
    kind, own = (each.type.partition("@")[0] if each else "" for each in (above, resource))
    if parent is not None and own.rpartition("/")[0] != kind:
        yield f"line {resource.line}: {own} does not stand under {kind or 'that'}"
    if parent is None and own.count("/") > 1:
        yield f"line {resource.line}: {resource.name} stands under nothing"
    if resource.body.get("name") is None:
        yield f"line {resource.line}: {resource.name} has no name"
    scope = resource.body.get("scope")
    names = [each.name for each in inside(scope) if isinstance(each, Name)] if scope else []
    if any(name not in template.of("resource") for name in names):
        yield f"line {resource.line}: {names} is no resource to stand at"


def waits_for(template: Template) -> Mapping[str, set[str]]:
    """Return the modules and resources that each one names, directly or by a variable."""
    declared = template.of("resource", "module", "var")
    direct = {
        name: {node.name for node in inside(each.value) if isinstance(node, Name) and node.name in declared}
        for name, each in declared.items()
    }
    found: dict[str, set[str]] = {}
    for name in declared:
        seen: set[str] = set()
        todo = list(direct[name])
        while todo:
            if (each := todo.pop()) not in seen:
                seen.add(each)
                todo += direct[each]
        found[name] = seen
    return found


def _cycles(template: Template) -> Iterator[str]:
    yield from (f"{name} waits for itself" for name, others in waits_for(template).items() if name in others)
