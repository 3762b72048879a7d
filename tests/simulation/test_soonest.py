"""A schedule that notices a missing rule first is only that: when it does not, all others are played."""

import warnings

import pytest

from tests.simulation import (
    test_dead_letters,
    test_feeds,
    test_missing_events,
    test_protocol,
    test_shared_verifications,
    test_shared_walks,
)
from tests.simulation.soonest import SOONEST, is_noticed

RULE, SEED = next(iter(SOONEST.items()))
OTHERS = range(5)


def test_the_named_schedule_is_played_first_and_no_other_if_it_notices():
    played = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_noticed(RULE, lambda seed: played.append(seed) or seed == SEED, OTHERS)
    assert played == [SEED]


def test_one_that_does_not_notice_any_more_is_told_and_all_others_are_played():
    played = []
    with pytest.warns(UserWarning, match="noticed by schedule 3"):
        assert is_noticed(RULE, lambda seed: played.append(seed) or seed == 3, OTHERS)
    assert played == [SEED, 0, 1, 2, 3]


@pytest.mark.parametrize("rule", [RULE, "a rule that none is named for"])
def test_what_no_schedule_notices_is_not_noticed(rule):
    assert not is_noticed(rule, lambda _: False, OTHERS)


def test_every_rule_that_a_schedule_is_named_for_is_one_of_a_mutant():
    mutants = [
        *test_dead_letters.MUTANTS,
        *test_feeds.MUTANTS,
        *test_feeds.EDITS,
        *test_protocol.MUTANTS,
        *test_protocol.OF_ANSWERS,
        *test_shared_verifications.MUTANTS,
        *test_shared_walks.MUTANTS,
        *test_shared_walks.REREAD_MUTANTS,
    ]
    rules = {mutant.rule for mutant in mutants} | test_missing_events.MUTANTS.keys()
    assert SOONEST.keys() - rules == set()
