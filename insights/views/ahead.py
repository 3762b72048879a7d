"""Compiles the shipped views in advance: ``python -m insights.views.ahead`` writes ``compiled.json``."""

from __future__ import annotations

import json
from typing import Any

from insights.views.catalogue import COMPILED, Catalogue, fingerprint


def compiled_text() -> str:
    """Return the required content of ``compiled.json``."""
    catalogue = Catalogue.shipped()
    views = catalogue.compile()
    shapes: dict[str, Any] = {view.resource: view.shape.as_json() for view in views.values()}
    stored = {
        "views_hash": fingerprint(catalogue.definitions),
        "views": {name: view.as_json() for name, view in views.items()},
        "shapes": dict(sorted(shapes.items())),
    }
    return json.dumps(stored, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    COMPILED.write_text(compiled_text(), "utf-8")
