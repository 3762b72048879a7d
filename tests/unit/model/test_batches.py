"""Slices of a sequence."""

from __future__ import annotations

import pytest

from sync.model.batches import batched


@pytest.mark.parametrize("number", range(8))
def test_slices_are_full_but_for_the_last_and_hold_all_in_order(number):
    slices = list(batched(range(number), 3))
    assert [value for some in slices for value in some] == list(range(number))
    assert all(len(some) == 3 for some in slices[:-1])
    assert all(0 < len(some) <= 3 for some in slices)
