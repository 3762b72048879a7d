"""
Draws docs/images/architecture.svg from the code: ``python -m scripts.architecture``.

The functions and their queues come from the decorators in ``function_app.py``, the steps of the two boxes from what
`sync.pipeline.ingest` and `sync.pipeline.project_study` await, in their order. A step that the tables here do not know
is an error, so that the picture cannot lag behind; ``tests/docs`` compares it with the file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

STEPS = {
    "inspect_object": "inspect the object as it is now",
    "_ensure_claimable": "refuse what contradicts its row",
    "s.locators.insert": "claim its row",
    "_write_rows": "write it to the study's ledger",
    "mark_dirty": "mark the study dirty",
    "record_rejection": "dead-letter it, or clear that",
    "s.locators.replace": "settle its row",
    "read_dirty_study": "read the mark",
    "read_fhir_state": "read what FHIR holds",
    "s.ledger.read": "read all rows of the study",
    "ensure_removable": "ask the ceiling on removals",
    "write_study": "write one transaction",
    "clear_mark": "clear the mark, if unchanged",
    "dead_letter_study": "or dead-letter the study",
}
"""What the pipeline awaits, as the picture says it."""

ASIDE = frozenset(
    {
        "_read_row",
        "_is_known",
        "s.projections.read",
        "seconds_to_wait",
        "s.study_queue.enqueue",
        "unless_conflict",
        "s.dirty.delete",
    }
)
"""What it awaits besides: caches, repeats, and what belongs to a step that is drawn."""

TRIGGERS = ("objects", "studies")
TIMERS = ("read_feeds", "tick")

_WIDTH, _LINE, _TOP = 1040, 22, 16
_STYLE = """
  .card { fill: #ffffff; stroke: #5b6b7b; } .store { fill: #e8f0f9; stroke: #0b5cad; }
  .bad { fill: #fdf0d9; stroke: #8a5200; }
  text { font: 14px system-ui, sans-serif; fill: #16202c; } .name { font-weight: 700; } .soft { fill: #4d5b6a; }
  .way { fill: none; stroke: #0b5cad; stroke-width: 2; } .head { fill: #0b5cad; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1a222c; stroke: #aab6c3; } .store { fill: #12283f; stroke: #7ab8ff; }
    .bad { fill: #36280c; stroke: #f5c063; } text { fill: #e8edf3; } .soft { fill: #aab6c3; }
    .way { stroke: #7ab8ff; } .head { fill: #7ab8ff; }
  }"""


def awaited(function: str) -> list[str]:
    """
    Return the steps of a function of `sync.pipeline`, each once, in the order of the code.

    Raises
    ------
    KeyError
        It awaits what the tables of this module do not know.
    """
    tree = ast.parse((ROOT / "sync" / "pipeline.py").read_text("utf-8"))
    [body] = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name == function]
    calls = sorted(_calls(body))
    unknown = {name for _, name in calls} - STEPS.keys() - ASIDE
    if unknown:
        raise KeyError(f"sync.pipeline.{function} awaits {', '.join(sorted(unknown))}: say it in scripts.architecture")
    # A call that is awaited in several places is drawn at the last one: the earlier ones are early returns for repeats.
    last = {name: place for place, name in calls if name in STEPS}
    return sorted(last, key=lambda name: last[name])


def _calls(body: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(body):
        if isinstance(node, ast.Await):
            for call in ast.walk(node.value):
                if isinstance(call, ast.Call) and (name := ast.unparse(call.func)) in STEPS.keys() | ASIDE:
                    yield call.lineno * 1000 + call.col_offset, name
                elif call is node.value and isinstance(call, ast.Call):
                    yield call.lineno * 1000 + call.col_offset, ast.unparse(call.func)


def functions() -> dict[str, str]:
    """Return the functions of the app with a queue, by queue, and the timers, by their own name."""
    tree = ast.parse((ROOT / "function_app.py").read_text("utf-8"))
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(func=ast.Attribute(attr="queue_trigger"), keywords=keywords):
                        [queue] = [ast.literal_eval(k.value) for k in keywords if k.arg == "queue_name"]
                        names[queue] = node.name
                    case ast.Call(func=ast.Attribute(attr="timer_trigger")):
                        names[node.name] = node.name
    return names


def drawing() -> str:
    """
    Return the picture as SVG.

    Raises
    ------
    KeyError
        The app or the pipeline has changed in a way that the picture does not tell.
    """
    named = functions()
    ingest, project = named[TRIGGERS[0]], named[TRIGGERS[1]]
    timers = [named[timer] for timer in TIMERS]
    left, right = awaited("ingest"), awaited("project_study")
    foot = _TOP + _LINE * (max(len(left), len(right)) + 1) + 12
    below = foot + 40
    parts = [
        _box(16, _TOP, 150, ["DICOM store", "blobs", "DICOM service", "Orthanc"], "store"),
        _box(16, _TOP + 116, 150, [*timers, "replays, listings"], "card"),
        _box(206, _TOP, 122, [f"queue {TRIGGERS[0]}", "hints, never", "the truth"], "store"),
        _box(368, _TOP, 246, [ingest, *(STEPS[step] for step in left)], "card"),
        _box(368, below, 246, ["Table Storage", "objects, ledger, dirty studies"], "store"),
        _box(654, below, 122, [f"queue {TRIGGERS[1]}", "after a", "quiet period"], "store"),
        _box(654, _TOP, 214, [project, *(STEPS[step] for step in right)], "card"),
        _box(908, _TOP, 116, ["FHIR R4", "ImagingStudy", "Patient", "Observation", "reports"], "store"),
        _box(
            16,
            below,
            312,
            ["Dead letters", "with reason and remedy, told by", "dashboard, alerts, result events"],
            "bad",
        ),
        _way(166, _TOP + 34, 206, _TOP + 34),
        _way(328, _TOP + 34, 368, _TOP + 34),
        _way(166, _TOP + 142, 368, _TOP + 142),
        _way(491, foot, 491, below),
        _way(614, below + 34, 654, below + 34),
        _way(715, below, 715, foot),
        _way(868, _TOP + 34, 908, _TOP + 34),
        _bend(368, foot - 18, 308, below),
    ]
    height = below + 96
    words = (
        f"The DICOM store's events go to queue {TRIGGERS[0]}; {ingest} inspects each object and writes its row; "
        f"a queue message after a quiet period lets {project} write the whole study to FHIR in one transaction."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="t d">'
        f'<title id="t">From the DICOM store to FHIR</title><desc id="d">{words}</desc><style>{_STYLE}\n</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _box(x: int, y: int, width: int, lines: list[str], kind: str) -> str:
    height = _LINE * len(lines) + 12
    texts = "".join(
        f'<text x="{x + 10}" y="{y + 22 + _LINE * n}" class="{"soft" if n else "name"}">{line}</text>'
        for n, line in enumerate(lines)
    )
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{kind}"/>{texts}'


def _way(x: int, y: int, to_x: int, to_y: int) -> str:
    return _line(f"M{x} {y}L{to_x} {to_y}", to_x, to_y, (to_x > x) - (to_x < x), (to_y > y) - (to_y < y))


def _bend(x: int, y: int, to_x: int, to_y: int) -> str:
    return _line(f"M{x} {y}L{to_x} {y}L{to_x} {to_y}", to_x, to_y, 0, 1 if to_y > y else -1)


def _line(path: str, x: int, y: int, along: int, down: int) -> str:
    """Draw a line with a head at its end, that looks right or left, or down or up."""
    back_x, back_y = x - 9 * along, y - 9 * down
    head = f"M{x} {y}L{back_x - 5 * down} {back_y - 5 * along}L{back_x + 5 * down} {back_y + 5 * along}Z"
    return f'<path class="way" d="{path}"/><path class="head" d="{head}"/>'


if __name__ == "__main__":
    PICTURE.write_text(drawing(), "utf-8")
