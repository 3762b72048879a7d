"""The page of the templates' parameters is made of the templates."""

from tests.docs.parameters_page import PAGE, page
from tests.infra.templates import parameters


def test_the_page_is_in_step():
    assert PAGE.read_text("utf-8") == page(), "run: .venv/bin/python -m tests.docs.parameters_page"


def test_every_parameter_has_a_line_and_a_meaning():
    lines = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    assert set(lines) == set(parameters())
    assert all(len(line.split(" | ")[-1]) > 10 for line in lines.values())
