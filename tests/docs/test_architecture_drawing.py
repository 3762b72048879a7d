"""The drawing of the architecture is what the code's flow gives now."""

import pytest

from scripts import architecture


def test_the_picture_is_drawn_from_the_code_of_now():
    assert architecture.PICTURE.read_text("utf-8") == architecture.drawing(), "python -m scripts.architecture"


def test_the_steps_stand_in_the_order_that_keeps_the_promises():
    assert architecture.awaited("ingest") == [
        "inspect_object",
        "_ensure_claimable",
        "s.locators.insert",
        "_write_rows",
        "mark_dirty",
        "record_rejection",
        "s.locators.replace",
    ]
    assert architecture.awaited("project_study")[-2:] == ["clear_mark", "dead_letter_study"]


def test_a_step_that_the_picture_does_not_know_is_an_error(monkeypatch):
    monkeypatch.delitem(architecture.STEPS, "write_study")
    with pytest.raises(KeyError, match="write_study"):
        architecture.awaited("project_study")
