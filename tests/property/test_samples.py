"""Measurements add up to the same in any order and any grouping."""

import random

from hypothesis import given
from hypothesis import strategies as st

from sync.telemetry.measurements import Measurement, MeasurementKey, added_up, single

BOUNDS = (1.0, 10.0, 100.0)
values = st.lists(st.integers(0, 1000), max_size=30)
keys = st.sampled_from([MeasurementKey("a"), MeasurementKey("a", (("k", "v"),)), MeasurementKey("b")])
rows = st.lists(st.dictionaries(keys, st.integers(0, 1000).map(lambda n: single(n, BOUNDS))), max_size=8)


@given(rows, st.randoms())
def test_order_does_not_matter(many, chance: random.Random):
    shuffled = chance.sample(many, len(many))
    assert added_up(many) == added_up(shuffled)


@given(rows, st.integers(0, 8))
def test_grouping_does_not_matter(many, cut):
    assert added_up([added_up(many[:cut]), added_up(many[cut:])]) == added_up(many)


@given(values)
def test_a_sample_tells_count_sum_and_highest_and_every_measurement_is_in_one_bucket(numbers):
    whole = sum((single(n, BOUNDS) for n in numbers), Measurement())
    assert (whole.count, whole.total) == (len(numbers), sum(numbers))
    assert sum(whole.buckets) == len(numbers)
    if numbers:
        assert whole.highest == max(numbers)
        assert whole.buckets[0] == sum(n <= 1 for n in numbers)
        assert whole.buckets[-1] == sum(n > 100 for n in numbers)


@given(values.filter(bool), st.floats(0, 1))
def test_a_quantile_is_within_the_bucket_of_the_true_one(numbers, share):
    whole = sum((single(n, BOUNDS) for n in numbers), Measurement())
    quantile = whole.quantile(share, BOUNDS)
    rank = max(-int(-share * len(numbers) // 1), 1)
    true = sorted(numbers)[rank - 1]
    low = max((bound for bound in (0.0, *BOUNDS) if bound < true), default=0.0)
    high = min((bound for bound in BOUNDS if bound >= true), default=max(numbers))
    assert low <= quantile <= min(max(high, true), max(numbers))
