"""When the exits of a worker are one too many for its host."""

import pytest

from local.host.worker_process import FORGIVEN_AFTER, Exits


@pytest.mark.parametrize(
    ("times", "ends"),
    [
        ([0.0, 1.0], False),
        ([0.0, 1.0, 2.0], True),
        ([0.0, FORGIVEN_AFTER, 2 * FORGIVEN_AFTER], True),  # each within half an hour of the one before
        ([0.0, 1.0, 2.0 + FORGIVEN_AFTER], False),
        ([0.0, 1.0, 2.0 + FORGIVEN_AFTER, 3.0 + FORGIVEN_AFTER], False),
        ([0.0, 1.0, 2.0 + FORGIVEN_AFTER, 3.0 + FORGIVEN_AFTER, 4.0 + FORGIVEN_AFTER], True),
    ],
)
def test_the_third_exit_without_half_an_hour_between_ends_the_host(times: list[float], ends: bool) -> None:
    exits = Exits()
    assert [exits.note(at) for at in times] == [*(False for _ in times[1:]), ends]
