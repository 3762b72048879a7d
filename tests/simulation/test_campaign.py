"""The campaign of mutants: what counts as noticed, and explanations that still are of something."""

import pytest

from tests.simulation.campaign.__main__ import is_noticed
from tests.simulation.campaign.explained import EXPLAINED
from tests.simulation.campaign.mutation import mutations


@pytest.mark.parametrize("exit_code", [1, 2, 3, -9, -24])
def test_whatever_a_mutant_does_to_the_tests_was_noticed(exit_code):
    assert is_noticed(exit_code)


def test_a_mutant_under_which_all_tests_pass_survived():
    assert not is_noticed(0)


@pytest.mark.parametrize("exit_code", [4, 5])
def test_a_run_without_tests_is_no_verdict(exit_code):
    with pytest.raises(SystemExit):
        is_noticed(exit_code)


def test_every_explanation_is_of_a_mutant_that_there_is():
    modules = {key.partition(":")[0] for key in EXPLAINED}
    assert set(EXPLAINED) <= {mutation.key for name in modules for mutation in mutations(name)}
