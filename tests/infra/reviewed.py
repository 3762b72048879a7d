"""
The reviewed snapshots: what each choice of the templates deploys, as text that a person reads in a diff.

``base`` is written out in full; each other choice is what it changes of ``base``, and a choice named ``private-…`` what
it changes of ``private``. One resource a paragraph:

    + ID          a resource that the choice adds, with all that is said of it
    - ID          one that it leaves out
    ~ ID          one that it changes, path by path

The contracts on the templates read these files, so they hold without a compiler; with one, a test compares the files
with what the compiler evaluates. Texts of more than 400 characters stand as their digest.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "snapshots"
BASE, PRIVATE = "base", "private"
OURS = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-imaging/providers/"
_LONG = 400
_PLAIN = re.compile(r"[\w$-]+")
_STEP = re.compile(r'\[(\d+)\]|"((?:[^"\\]|\\.)*)"|([\w$-]+)')

Resource = dict[str, Any]
Flat = dict[str, str]


def write(snapshots: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the files anew, and remove those of choices that are gone."""
    flat = {name: flatten(answer["predictedResources"]) for name, answer in snapshots.items()}
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        if old.stem not in flat:
            old.unlink()
    for name, changed in flat.items():
        (FOLDER / f"{name}.txt").write_text(text_of(changed, flat[against(name)] if name != BASE else {}), "utf-8")


def against(name: str) -> str:
    """Return the choice that a choice is written as a change of."""
    return PRIVATE if name.startswith(f"{PRIVATE}-") else BASE


def flatten(predicted: list[Resource]) -> dict[str, Flat]:
    """Return what is said of each resource, by id and path."""
    flat: dict[str, Flat] = {}
    for resource in predicted:
        short = resource["id"].replace(OURS, "~/")
        assert short not in flat, f"made twice: {short}"
        flat[short] = dict(_leaves({key: value for key, value in resource.items() if key != "id"}, ""))
    return flat


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            step = key if _PLAIN.fullmatch(key) else json.dumps(key)
            yield from _leaves(item, f"{path}.{step}" if path else step)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    elif isinstance(value, str) and len(value) > _LONG:
        yield path, json.dumps(digest(value))
    else:
        yield path, json.dumps(value, ensure_ascii=False).replace(OURS, "~/")


def digest(text: str) -> str:
    """Return what stands for a long text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def text_of(changed: Mapping[str, Flat], base: Mapping[str, Flat]) -> str:
    """Return what is different from the base, as text."""
    lines = []
    for name in sorted(changed.keys() | base.keys()):
        here, there = changed.get(name), base.get(name)
        if here is None:
            lines.append(f"- {name}")
        elif there is None:
            lines += [f"+ {name}", *(f"    {path}: {said}" for path, said in sorted(here.items()))]
        elif here != there:
            lines.append(f"~ {name}")
            for path in sorted(here.keys() | there.keys()):
                if here.get(path) != there.get(path):
                    lines += [f"  - {path}: {there[path]}"] if path in there else []
                    lines += [f"  + {path}: {here[path]}"] if path in here else []
    return "\n".join(lines) + "\n"


def choices() -> list[str]:
    """Return the names of all reviewed choices."""
    return sorted(file.stem for file in FOLDER.glob("*.txt"))


@cache
def flat(name: str) -> dict[str, Flat]:
    """Read one reviewed choice, by id and path."""
    differences = {} if name == BASE else {key: dict(said) for key, said in flat(against(name)).items()}
    here = ""
    for line in (FOLDER / f"{name}.txt").read_text("utf-8").splitlines():
        mark, said = line[0], line[2:]
        if mark in "+-~":
            here = said
            if mark == "-":
                del differences[here]
            elif mark == "+":
                differences[here] = {}
        elif line.startswith("  - "):
            del differences[here][line[4:].partition(": ")[0]]
        elif said:
            path, _, value = line[4:].partition(": ")
            differences[here][path] = value
    return differences


@cache
def resources(name: str) -> tuple[Resource, ...]:
    """Return the resources of one reviewed choice, as they would be sent; with their ids in full."""
    return tuple({"id": key.replace("~/", OURS), **_unflattened(said)} for key, said in flat(name).items())


def of_type(kind: str, name: str = BASE) -> list[Resource]:
    """Return the resources of one type in a choice."""
    return [resource for resource in resources(name) if resource["type"].lower() == kind.lower()]


def everywhere(kind: str) -> list[Resource]:
    """Return the resources of one type in every choice."""
    return [resource for name in choices() for resource in of_type(kind, name)]


def _unflattened(said: Flat) -> Resource:
    made: Resource = {}
    for path, value in said.items():
        steps = [
            int(match[1]) if match[1] else json.loads(f'"{match[2]}"') if match[2] is not None else match[3]
            for match in _STEP.finditer(path)
        ]
        here: Any = made
        for step, after in itertools.pairwise(steps):
            empty: Any = [] if isinstance(after, int) else {}
            if isinstance(step, int):
                here.extend([empty] * (step + 1 - len(here)))
                here = here[step]
            else:
                here = here.setdefault(step, empty)
        last = json.loads(value.replace("~/", OURS))
        if isinstance(steps[-1], int):
            here.append(last)
        else:
            here[steps[-1]] = last
    return made
