"""The breaker leaves a failing service alone for a growing while and lets one caller try again."""

import pytest

from sync.adapters.circuit_breaker import FAILURES_TO_OPEN, FIRST_PAUSE, LONGEST_PAUSE, CircuitBreaker


class Watch:
    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def breaker(watch):
    return CircuitBreaker(watch)


def fail(breaker, times=FAILURES_TO_OPEN, **how):
    for _ in range(times):
        breaker.failed(**how)


def test_it_stays_closed_before_the_fifth_failure(breaker):
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.remaining() == 0.0


def test_it_opens_with_the_fifth_failure_in_a_row(breaker, watch):
    fail(breaker)
    watch.time += 1
    assert breaker.remaining() == FIRST_PAUSE - 1


def test_a_success_starts_the_count_anew(breaker):
    fail(breaker, FAILURES_TO_OPEN - 1)
    breaker.succeeded()
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.remaining() == 0.0


def test_one_caller_probes_and_the_others_wait_for_it(breaker, watch):
    fail(breaker)
    watch.time += FIRST_PAUSE
    assert breaker.remaining() == 0.0
    assert breaker.remaining() > 0.0


def test_a_probe_that_succeeds_closes_it(breaker, watch):
    fail(breaker)
    watch.time += FIRST_PAUSE
    breaker.remaining()
    breaker.succeeded()
    assert [breaker.remaining(), breaker.remaining()] == [0.0, 0.0]


def test_a_probe_that_is_never_heard_of_again_is_followed_by_another(breaker, watch):
    fail(breaker)
    watch.time += FIRST_PAUSE
    breaker.remaining()
    watch.time += LONGEST_PAUSE
    assert breaker.remaining() == 0.0


def test_each_failed_probe_doubles_the_pause_up_to_a_bound(breaker, watch):
    fail(breaker)
    pauses = []
    for _ in range(6):
        pauses.append(pause := breaker.remaining())
        watch.time += pause
        assert breaker.remaining() == 0.0
        breaker.failed()
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_calls_that_were_under_way_when_it_opened_do_not_lengthen_the_pause(breaker):
    fail(breaker, 64)
    assert breaker.remaining() == FIRST_PAUSE


def test_after_a_recovery_the_pause_is_short_again(breaker, watch):
    fail(breaker)
    watch.time += FIRST_PAUSE
    breaker.remaining()
    breaker.failed()
    breaker.succeeded()
    fail(breaker)
    assert breaker.remaining() == FIRST_PAUSE


@pytest.mark.parametrize(("asked", "pause"), [(30.0, 30.0), (0.5, FIRST_PAUSE), (3600.0, LONGEST_PAUSE)])
def test_the_service_may_ask_for_a_longer_pause_within_bounds(breaker, asked, pause):
    fail(breaker, retry_after=asked)
    assert breaker.remaining() == pause


def test_a_late_answer_may_lengthen_an_open_pause_but_never_shorten_it(breaker):
    fail(breaker, retry_after=20.0)
    breaker.failed(retry_after=40.0)
    assert breaker.remaining() == 40.0
    breaker.failed(retry_after=1.0)
    assert breaker.remaining() == 40.0
