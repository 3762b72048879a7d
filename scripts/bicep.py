"""
Runs Microsoft's Bicep compiler on the templates: build, lint, layout, and snapshots of every choice.

    .venv/bin/python -m scripts.bicep check        every finding of the compiler and its linter, and of the layout
    .venv/bin/python -m scripts.bicep snapshots    rewrites tests/infra/snapshots, for review
    .venv/bin/python -m scripts.bicep stale        API versions for which Azure has a newer stable one

The compiler is the one that ``BICEP`` names, or the one on ``PATH``, or ``../shared/tools/bicep`` beside the checkout.
A snapshot is what a deployment would send to Azure: every resource, name, condition and loop, evaluated without a
subscription. What Azure alone knows (another resource's identity, ``environment()``) stays an expression in brackets.

Source: Microsoft, "Bicep CLI commands", "Configure your Bicep environment".
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
CHOICES = ROOT / "tests" / "infra" / "choices"
BESIDE = ROOT.parent / "shared" / "tools" / "bicep"
TEMPLATE = "../../../infra/main.bicep"
"""How a choice names its template."""

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
TENANT = "22222222-2222-2222-2222-222222222222"

UNPROFILED = {"DOTNET_TieredPGO": "0"}
"""The compiler runs for seconds: .NET is not to measure its code for later, which takes a seventh of its time."""


class CompilerMissing(Exception):
    """There is no Bicep compiler on this machine."""


class Refused(Exception):
    """The compiler refused a template, or the values of its parameters; the text is the compiler's."""


def compiler() -> Path:
    """
    Return the compiler's place.

    Raises
    ------
    CompilerMissing
        There is none; the text says where one was looked for.
    """
    named = os.environ.get("BICEP")
    program = named or shutil.which("bicep") or (str(BESIDE) if BESIDE.exists() else None)
    if program is None or shutil.which(program) is None:
        where = f"BICEP={named}" if named else f"neither BICEP, nor on PATH, nor {os.path.relpath(BESIDE, ROOT)}"
        raise CompilerMissing(f"no Bicep compiler: {where}. The templates are NOT compiled.")
    return Path(program)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the compiler; the caller judges how it ended."""
    command = [str(compiler()), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | UNPROFILED
    )


def strict(folder: Path) -> Path:
    """Write our configuration of the linter into a folder, with every rule that warns raised to an error."""
    text = (INFRA / "bicepconfig.json").read_text("utf-8").replace('"level": "warning"', '"level": "error"')
    target = folder / "bicepconfig.json"
    target.write_text(text, "utf-8")
    return target


def findings(file: Path) -> list[str]:
    """Return the findings of compiler, type checker and linter about one template, at our strictest; empty is good."""
    with tempfile.TemporaryDirectory() as folder:
        config = strict(Path(folder))
        done = run("lint", file, "--no-restore", "--diagnostics-format", "sarif", "--config", config)
    report = json.loads(done.stdout or done.stderr)
    return [
        f"{_place(result)} {result['ruleId']}: {result['message']['text']}" for result in report["runs"][0]["results"]
    ]


def _place(result: Mapping[str, Any]) -> str:
    """Return file and line; a finding in a module is reported where the module is used too."""
    place = result["locations"][0]["physicalLocation"]
    return f"{Path(place['artifactLocation']['uri']).name}:{place['region']['startLine']}"


def _said(diagnostics: Sequence[Mapping[str, Any]]) -> str:
    """Return the compiler's findings, a line each, with place and code as it prints them."""
    return "\n".join(
        f"{note['source']}({note['range']['start']['line'] + 1}) : {note['level']} {note['code']}: {note['message']}"
        for note in diagnostics
    )


class Evaluator:
    """
    One process of the compiler that evaluates deployments, one after the other; the template is compiled once.

    Source: the compiler's own protocol, ``bicep jsonrpc``: JSON-RPC 2.0 with a ``Content-Length`` before each message.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [str(compiler()), "jsonrpc", "--stdio"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=os.environ | UNPROFILED, **pipes)
        self._number = 0
        self.template = self._compiled(INFRA / "main.bicep")
        """The ARM template of all, as text."""
        Path(self._folder.name, "main.json").write_text(self.template, "utf-8")

    def _compiled(self, file: Path) -> str:
        result = self._call("bicep/compile", {"path": str(file)})["result"]
        if not result["success"]:
            self.close()
            raise Refused(_said(result["diagnostics"]))
        return str(result["contents"])

    def close(self) -> None:
        """End the process; it leaves nothing behind."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def evaluate(self, text: str) -> dict[str, Any]:
        """
        Return what a deployment with the parameters of a ``.bicepparam`` text would send.

        Raises
        ------
        Refused
            Templates or parameters are refused, by their types, decorators or ``fail()``.
        """
        param = Path(self._folder.name, "choice.bicepparam")
        param.write_text(text.replace(TEMPLATE, "main.json"), "utf-8")
        ids = {"tenantId": TENANT, "subscriptionId": SUBSCRIPTION, "location": "westeurope"}
        answer = self._call("bicep/getSnapshot", {"path": str(param), "metadata": ids})
        if "error" in answer:
            compiled = self._call("bicep/compileParams", {"path": str(param), "parameterOverrides": {}})
            said = _said(compiled["result"]["diagnostics"])
            raise Refused(f"{answer['error']['message']} {said}".strip())
        snapshot: dict[str, Any] = json.loads(answer["result"]["snapshot"])
        if snapshot["diagnostics"]:
            raise Refused(json.dumps(snapshot["diagnostics"], indent=2))
        return snapshot

    def formatted(self, file: Path) -> str:
        """Return one file as the language's formatter lays it out."""
        answer = self._call("bicep/format", {"path": str(file)})
        return str(answer["result"]["contents"])

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        asked = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": [params]}
        body = json.dumps(asked).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        answer: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return answer


@cache
def evaluator() -> Evaluator:
    """Return the one evaluator of this process; it ends with it."""
    made = Evaluator()
    atexit.register(made.close)
    return made


def evaluate(text: str) -> dict[str, Any]:
    """Evaluate a deployment; see `Evaluator.evaluate`."""
    return evaluator().evaluate(text)


def snapshots() -> dict[str, dict[str, Any]]:
    """Evaluate every choice, by its name."""
    return {file.stem: evaluate(file.read_text("utf-8")) for file in sorted(CHOICES.glob("*.bicepparam"))}


def check() -> Iterator[str]:
    """Give all that is wrong with the templates, before they are evaluated."""
    problems = findings(INFRA / "main.bicep")
    yield from problems
    if problems:
        return
    files = sorted(INFRA.rglob("*.bicep"))
    used = "".join(file.read_text("utf-8") for file in files)
    for file in files:
        name = str(file.relative_to(INFRA))
        if evaluator().formatted(file) != file.read_text("utf-8"):
            yield f"{name}: laid out differently than by: bicep format infra/{name}"
        if name != "main.bicep" and not re.search(rf"'[\w./]*\b{file.name}'", used):
            yield f"{name}: no template uses it, so it is not compiled"


def stale() -> Iterator[str]:
    """Give the API versions for which there is a newer stable one; a report, because it changes with the calendar."""
    with tempfile.TemporaryDirectory() as folder:
        config = strict(Path(folder))
        said = json.loads(config.read_text("utf-8"))
        rules = said["analyzers"]["core"]["rules"]
        for rule in rules.values():
            rule["level"] = "off"
        rules["use-recent-api-versions"] = {"level": "warning", "maxAgeInDays": 365}
        config.write_text(json.dumps(said), "utf-8")
        for file in sorted(INFRA.rglob("*.bicep")):
            done = run("lint", file, "--no-restore", "--diagnostics-format", "sarif", "--config", config)
            for result in json.loads(done.stdout or done.stderr)["runs"][0]["results"]:
                yield f"{_place(result)} {result['message']['text']}"


def main() -> None:
    """Run one command; exit code 1 with findings, 2 without a compiler."""
    command = sys.argv[1] if sys.argv[1:] else "check"
    try:
        if command == "snapshots":
            from tests.infra.reviewed import write  # noqa: PLC0415 — the tests know the form that is reviewed

            write(snapshots())
            return
        problems = list(stale() if command == "stale" else check())
    except CompilerMissing as missing:
        print(missing, file=sys.stderr)
        raise SystemExit(2) from missing
    print("\n".join(problems) or "The compiler has no findings.")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
