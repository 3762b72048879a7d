"""Answers of Table Storage that the emulator never gives: pages without a row, though others follow."""

import pytest

from sync.adapters.azure.tables.dead_letters import TableDeadLetters, dead_letter_row
from sync.model import DeadLetter, SubjectKind
from tests.contract.storage import NOW

LETTER = DeadLetter(
    kind=SubjectKind.STUDY, subject="a" * 40, code="fhir.rejected", detail="", hint="", first_at=NOW, last_at=NOW
)
FOLLOWING = {"PartitionKey": "study", "RowKey": "b"}


class Pages:
    """Pages of rows, as the library has them."""

    def __init__(self, *pages):
        self.pages, self.asked, self.continuation_token = list(pages), 0, None

    def query_entities(self, *_, **__):
        return self

    def by_page(self, continuation_token=None):
        return self

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.pages:
            raise StopAsyncIteration
        rows = self.pages.pop(0)
        self.asked += 1
        self.continuation_token = FOLLOWING if self.pages else None

        async def page():
            for row in rows:
                yield row

        return page()


async def page_of(client):
    return await TableDeadLetters(client).page(code="fhir.rejected")


async def test_a_page_without_a_row_is_no_end():
    page = await page_of(Pages([], [], [dead_letter_row(LETTER)], []))
    assert list(page.letters) == [LETTER]
    assert page.token is not None


@pytest.mark.parametrize("pages", [[], [[]], [[], []]])
async def test_no_row_at_all_is_an_empty_page_and_the_last(pages):
    page = await page_of(Pages(*pages))
    assert (list(page.letters), page.token) == ([], None)


async def test_a_table_of_very_many_partitions_is_not_read_at_once():
    client = Pages(*[[]] * 500, [dead_letter_row(LETTER)])
    page = await page_of(client)
    assert (list(page.letters), page.token is None, client.asked) == ([], False, 10)
