"""The size of a batch in host.json is the one that the published rules of scaling ask for fewest instances with."""

import json
from pathlib import Path

import pytest

from bench import scale_rules
from bench.scale_rules import CASES, DECIDED, SIZES, Arrivals, play, played

ROOT = Path(__file__).parents[3]
QUEUES = json.loads((ROOT / "host.json").read_text("utf-8"))["extensions"]["queues"]


def test_what_is_played_is_what_the_host_is_told():
    assert QUEUES["batchSize"] == max(SIZES)
    assert QUEUES["batchSize"] + QUEUES["newBatchThreshold"] == scale_rules.IN_HAND


def test_a_burst_of_three_hundred_asks_for_ten_instances_where_it_is_decided_at_once():
    wanted = play(Arrivals(name="", messages=300, a_second=10_000), 32, DECIDED[0])
    assert wanted.instances == 10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_smaller_batch_needs_fewer_instances_or_is_a_fifth_faster(case):
    for size in SIZES:
        chosen, other = played(case, max(SIZES)), played(case, size)
        assert max(one.instances for one in chosen) <= max(one.instances for one in other)
        assert max(one.seconds for one in chosen) <= 1.2 * max(one.seconds for one in other)


def test_no_message_is_left_and_no_more_instances_are_started_than_may_run():
    result = play(Arrivals(name="", messages=100_000, a_second=100_000), 1, 1.0, most=7)
    assert result.instances == 7
    assert result.seconds >= 100_000 / scale_rules.RATE / 7


def test_the_decision_shows_what_is_played():
    page = (ROOT / "docs" / "adr" / "0011-queue-settings.md").read_text("utf-8")
    assert scale_rules.table() in page, "run: python -m bench.scale_rules, and put it into the page"
