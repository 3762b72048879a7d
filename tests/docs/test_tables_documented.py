"""The page of the tables says what the views say."""

from insights.views import Catalogue
from tests.docs.tables_page import PAGE, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == page(), "run: .venv/bin/python -m tests.docs.tables_page"


def test_every_column_says_what_it_means():
    silent = [f"{v.name}.{c.name}" for v in Catalogue.shipped().views.values() for c in v.columns if not c.description]
    assert silent == []
