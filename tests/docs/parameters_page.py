"""Writes docs/parameters.md from infra/main.bicep and its map to azd: ``python -m tests.docs.parameters_page``."""

from __future__ import annotations

import json
import re
from pathlib import Path

INFRA = Path(__file__).parents[2] / "infra"
PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"

_TEXT = """\
# Parameters of the templates

Set one with `azd env set VARIABLE VALUE` before `azd up` or `azd provision`, or as a parameter of the deployment. Lists
and objects are JSON, such as `["dicom", "archive"]`. An unset variable leaves the default; azd asks for parameters that
have no default. These commands need an Azure subscription.

This page is generated from [`infra/main.bicep`](../infra/main.bicep) by
`.venv/bin/python -m tests.docs.parameters_page`. `tests/infra/snapshots` holds the evaluated deployment of each
choice.
"""

_PARAM = re.compile(r"((?:^@[^\n]*\n)+)^param (\w+) ([^=\n]+?)(?: = ([^\n]*))?$", re.MULTILINE)
_SECTION = re.compile(r"^// --- (.+?) -+$", re.MULTILINE)


def page() -> str:
    """Return the page."""
    text = (INFRA / "main.bicep").read_text("utf-8").partition("// --- What the choices mean")[0]
    variables = {
        name: said["value"].strip("${}")
        for name, said in json.loads((INFRA / "main.parameters.json").read_text("utf-8"))["parameters"].items()
    }
    titles = ["In general", *_SECTION.findall(text)]
    parts = re.split(r"^// --- .+$", text, flags=re.MULTILINE)
    lines = [_TEXT]
    for title, part in zip(titles, parts, strict=True):
        lines += [f"## {title}\n", "| parameter | variable of azd | default | meaning |", "|---|---|---|---|"]
        for decorators, name, kind, default in _PARAM.findall(part):
            variable = f"`{variables[name]}`" if name in variables else ""
            lines.append(f"| `{name}` | {variable} | {_default(default, kind)} | {_meaning(decorators)} |")
        lines.append("")
    return "\n".join(lines)


def _default(default: str, kind: str) -> str:
    if not default:
        return "required"
    shown = {"''": "empty", "{}": "empty", "[]": "empty"}.get(default, f"`{default}`")
    return "empty" if kind == "CustomerKey" else shown


def _meaning(decorators: str) -> str:
    match = re.search(r"@description\('(.*)'\)", decorators)
    allowed = re.search(r"@allowed\(\[(.*)\]\)", decorators)
    least, most = (re.search(rf"@{name}\((-?\d+)\)", decorators) for name in ("minValue", "maxValue"))
    text = match[1].replace("\\'", "'") if match else ""
    if allowed:
        values = ", ".join(
            f"`{value.strip()}`" if value.strip() != "''" else "empty" for value in allowed[1].split(",")
        )
        text += f" One of {values}."
    if least:
        text += f" From {least[1]} to {most[1]}." if most else f" At least {least[1]}."
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
