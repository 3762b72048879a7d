"""The page of the result events and their schemas say what the code sends."""

import ast
import json
from pathlib import Path

from sync.model.result_events import RESULTS
from tests.docs.events_page import PAGE, SCHEMAS, page, schema_text

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("sync", "insights") for path in (ROOT / name).rglob("*.py")]
AGAIN = "run: python -m tests.docs.events_page"


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == page(), AGAIN


def test_every_event_has_its_schema_and_no_schema_is_left_over():
    files = {file.name: file.read_text("utf-8") for file in SCHEMAS.glob("*.json")}
    assert files == {f"{result.name}.v1.json": schema_text(result) for result in RESULTS}, AGAIN


def test_every_field_says_what_it_means():
    for result in RESULTS:
        fields = json.loads(schema_text(result))["properties"]
        assert [name for name, field in fields.items() if not field.get("description")] == []


def test_every_event_that_is_documented_is_published():
    trees = [ast.parse(path.read_text("utf-8")) for path in SOURCES if path.name != "result_events.py"]
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {result.__name__ for result in RESULTS} - used == set()
