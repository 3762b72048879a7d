"""The runbook's entry for one code, as a page: available when the documentation site cannot be reached."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from sync.errors import RequestRefused
from sync.web.rendering import RenderedPage, Visit, render


@cache
def entries() -> dict[str, str]:
    """Return the paragraphs of each code in ``docs/runbook.md``; one paragraph per line, code in backticks."""
    loaded: dict[str, str] = json.loads(files("sync.web").joinpath("runbook.json").read_text(encoding="utf-8"))
    return loaded


def runbook(visit: Visit) -> RenderedPage:
    """
    Show the runbook entry of a code: its meaning and its remedy.

    Raises
    ------
    RequestRefused
        The runbook has no such code.
    """
    code = visit.request.query.get("of", "")
    text = entries().get(code)
    if text is None:
        raise RequestRefused("the runbook has no such code", code="request.not_found")
    paragraphs = [paragraph.split("`") for paragraph in text.replace("*", "").splitlines()]
    return render(visit, "runbook.html", title=f"Runbook: {code}", of=code, paragraphs=paragraphs)
