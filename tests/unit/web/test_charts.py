"""Charts say in words what they show, split at gaps, and never leave their frame."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.web.charts import HEIGHT, WIDTH, Curve, Graph, drawn, legend, number_text

START = datetime(2026, 3, 4, tzinfo=UTC)
FINITE = st.one_of(st.none(), st.floats(min_value=0, max_value=1e12, allow_nan=False))


def graph(*curves, **more):
    return Graph(key="k", title="Objects", unit=" s", start=START, step=60, curves=curves, **more)


def test_it_says_the_latest_and_the_highest_value():
    words = str(drawn(graph(Curve(name="95 %", points=[1.0, 7.0, 3.0]))))
    assert "95 %: now 3 s, at most 7 s" in words
    assert 'role="img"' in words


def test_nothing_measured_is_said():
    assert graph(Curve(name="x", points=[])).described() == "No measurements in this period."
    assert graph(Curve(name="x", points=[])).ticks == (), "one time thrice is no axis"
    assert graph(Curve(name="x", points=[None, None]), gaps_are_zero=False).headline == "no data"


def test_a_gap_splits_the_line_unless_it_means_nought():
    points = [1.0, 2.0, None, 2.0, 1.0]
    assert str(drawn(graph(Curve(name="x", points=points), gaps_are_zero=False))).count('class="line') == 2
    assert str(drawn(graph(Curve(name="x", points=points)))).count('class="line') == 1


def test_several_curves_have_a_legend_and_names_are_escaped():
    two = graph(Curve(name="<b>", points=[1.0]), Curve(name="y", points=[2.0]))
    assert "&lt;b&gt;" in str(legend(two))
    assert "<b>" not in str(drawn(two))
    assert str(legend(graph(Curve(name="x", points=[1.0])))) == ""


@given(st.lists(FINITE, max_size=30), st.lists(FINITE, max_size=30), st.booleans())
def test_whatever_was_measured_stays_within_the_frame(one, two, zero):
    curves = (Curve(name="a", points=one), Curve(name="b", points=two))
    svg = str(drawn(graph(*curves, gaps_are_zero=zero, threshold=7.0, incidents=((0, 2), (5, 29)))))
    for path in re.findall(r' d="([^"]+)"', svg):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path):
            assert 0 <= float(x) <= WIDTH + 1
            assert 0 <= float(y) <= HEIGHT


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (7, "7"), (0.256, "0.26"), (1234, "1,234"), (25_000, "25 k"), (3_400_000, "3.4 M")]
)
def test_numbers_are_written_as_people_do(number, text):
    assert number_text(number) == text


def test_what_was_measured_earlier_is_not_called_now():
    assert graph(Curve(name="x", points=[9.0, None, None]), gaps_are_zero=False).headline == "no data"
    assert graph(Curve(name="x", points=[9.0, None, None])).headline == "0 s"
    assert graph(Curve(name="x", points=[9.0, 3.0, None]), gaps_are_zero=False).headline == "3 s"


def test_the_axes_say_scale_and_times():
    measured = graph(Curve(name="x", points=[1.0, 7.0, 3.0, 1.0]))
    assert measured.scale == "7 s"
    assert measured.ticks == ("00:00", "00:02", "00:03 UTC"), "those of its points, none of which begins in the future"
    assert graph(Curve(name="x", points=[None])).scale == "nothing measured"


def test_an_outlier_does_not_flatten_the_rest_and_is_marked():
    measured = graph(Curve(name="x", points=[4.0] * 20 + [9000.0] + [5.0] * 20))
    assert measured.top == 7.5
    assert measured.scale == "7.5 s, outlier 9,000 s at 00:20"
    assert str(drawn(measured)).count('class="beyond"') == 1
    assert "at most 9,000 s" in measured.described()


def test_values_that_differ_much_as_a_rule_are_no_outliers():
    assert graph(Curve(name="x", points=[1.0, 9000.0])).top == 9000.0
    assert graph(Curve(name="x", points=[1.0, 9000.0] * 10)).top == 9000.0


def test_a_threshold_is_drawn_where_it_is_near_and_named_in_any_case():
    near, far = (graph(Curve(name="x", points=[top]), threshold=300.0) for top in (200.0, 3.0))
    assert 'class="limit"' in str(drawn(near))
    assert 'class="limit"' not in str(drawn(far))
    for chart in (near, far):
        assert "an alert is raised above 300 s" in chart.described()
        assert "alert above 300 s" in str(legend(chart))


def test_the_values_are_there_for_the_script():
    points = [1.0, 1.0, None, 1.23456]
    assert json.loads(graph(Curve(name="x", points=points)).series) == [["x", [[1, 2], [0, 1], [1.23, 1]]]]
    gaps = graph(Curve(name="x", points=points), gaps_are_zero=False)
    assert json.loads(gaps.series) == [["x", [[1, 2], [None, 1], [1.23, 1]]]]


def test_a_level_stretch_takes_no_more_than_its_ends():
    assert 'class="line line-0" d="M0 2L320 2"' in str(drawn(graph(Curve(name="x", points=[3.0] * 100))))
