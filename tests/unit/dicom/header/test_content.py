"""The content tree of a report: read within bounds of its own, and never at the cost of its instance."""

import pytest
from pydicom.dataset import Dataset

from sync.config import HeaderLimits
from sync.dicom.attributes import items, texts
from sync.dicom.header import inspect_header, parse_header
from sync.dicom.header.content import LARGEST_CONTENT, LONGEST_TEXT
from sync.dicom.header.record import NeedMore
from sync.model import InstanceRecord
from sync.testing.objects import MemoryObjects
from tests.headers import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, deflate, dicom_file, element, identity, sequence
from tests.reports import BASIC, code, container, item, measurements, report, text, text_report

LIMITS = HeaderLimits()


def read(data, limits=LIMITS):
    record = parse_header(data, size=len(data), limits=limits)
    assert isinstance(record, InstanceRecord)
    return record


def codes(record):
    return {finding.code for finding in record.findings}


def tree(record):
    return items(record.attributes, "ContentSequence")


def test_a_tree_is_read_with_names_values_and_children():
    [findings, conclusions] = tree(read(text_report()))
    assert texts(items(findings, "ConceptNameCodeSequence")[0], "CodeValue") == ("121070",)
    [finding] = items(findings, "ContentSequence")
    assert texts(finding, "TextValue") == ("A <b>nodule</b> & more\nseen",)
    assert [texts(item_, "TextValue") for item_ in items(conclusions, "ContentSequence")] == [
        ("Benign.",),
        ("No follow-up.",),
    ]


def test_coordinates_and_unmapped_content_are_left_in_the_file():
    region = item("SCOORD", code("111030"), GraphicType="POINT", GraphicData=[1.0, 2.0])
    [kept] = tree(read(report(BASIC, code("1"), region)))
    assert set(kept) == {"RelationshipType", "ValueType", "ConceptNameCodeSequence"}


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.88.40", "1.2.840.10008.5.1.4.1.1.2"])
def test_the_trees_of_other_objects_are_not_read(sop_class):
    record = read(report(sop_class, code("113000"), text(code("113012"), "x")))
    assert tree(record) == ()
    assert record.findings == ()


def in_syntax(syntax, *, undefined=True):
    implicit, big = syntax == IMPLICIT, syntax == BIG_ENDIAN
    form = {"implicit": implicit, "big": big}
    inner = element(0x0040A040, "CS", "TEXT", **form) + element(0x0040A160, "UT", "words", **form)
    nested = sequence(0x0040A730, inner, undefined=undefined, **form)
    outer = element(0x0040A040, "CS", "CONTAINER", **form) + nested
    body = element(0x00080016, "UI", BASIC, **form)
    body += identity(**form) + sequence(0x0040A730, outer, undefined=undefined, **form)
    return dicom_file(deflate(body) if syntax == DEFLATED else body, syntax)


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_every_encoding_gives_the_same_tree(syntax, undefined):
    [outer] = tree(read(in_syntax(syntax, undefined=undefined)))
    [inner] = items(outer, "ContentSequence")
    assert texts(inner, "TextValue") == ("words",)


def test_the_character_set_of_the_object_holds_in_its_tree():
    file = report(BASIC, code("1"), text(code("2"), "größer"), SpecificCharacterSet="ISO_IR 192")
    assert texts(tree(read(file))[0], "TextValue") == ("größer",)


def test_a_part_of_the_file_asks_for_the_rest_of_its_tree():
    data = measurements()
    assert isinstance(parse_header(data[:-40], size=len(data), limits=HeaderLimits()), NeedMore)


async def test_a_tree_beyond_the_first_range_is_fetched():
    data = report(BASIC, code("1"), *(text(code("2"), "x" * 400) for _ in range(100)))
    store = MemoryObjects()
    ref = store.ref("a")
    store.put(ref, data)
    inspection = await inspect_header(store, ref, HeaderLimits(first_read_bytes=2048))
    assert len(tree(inspection.record)) == 100


def deep(levels):
    held = text(code("2"), "at the bottom")
    for _ in range(levels):
        held = container(code("1"), held)
    return report(BASIC, code("1"), held)


@pytest.mark.parametrize(
    ("data", "limits", "why"),
    [
        (deep(40), HeaderLimits(), "content.too_large"),
        (deep(12), HeaderLimits(max_elements=60), "content.too_large"),
        (
            report(BASIC, code("1"), *(text(code("2"), "x" * 60_000) for _ in range(LARGEST_CONTENT // 60_000 + 1))),
            HeaderLimits(),
            "content.too_large",
        ),
        (text_report()[:-30], HeaderLimits(), "content.truncated"),
    ],
    ids=["depth", "elements", "bytes", "cut"],
)
def test_a_tree_beyond_the_bounds_costs_the_tree_and_never_the_instance(data, limits, why):
    record = read(data, limits)
    assert tree(record) == ()
    assert codes(record) == {why}
    assert texts(record.attributes, "StudyDate")


async def test_a_tree_that_ends_beyond_the_readable_bytes_costs_the_tree_only():
    data = report(BASIC, code("1"), *(text(code("2"), "x" * 400) for _ in range(100)))
    store = MemoryObjects()
    ref = store.ref("a")
    store.put(ref, data)
    inspection = await inspect_header(store, ref, HeaderLimits(first_read_bytes=2048, max_bytes=8192))
    assert codes(inspection.record) == {"content.truncated"}


def test_one_long_text_costs_itself_only():
    record = read(report(BASIC, code("1"), text(code("2"), "x" * (LONGEST_TEXT + 2)), text(code("2"), "short")))
    assert [texts(node, "TextValue") for node in tree(record)] == [(), ("short",)]
    assert codes(record) == {"value.too_long"}


def test_a_tree_that_is_no_sequence_costs_the_tree_only():
    body = element(0x00080016, "UI", BASIC) + identity() + element(0x0040A730, "SQ", b"no items at all!")
    record = read(dicom_file(body))
    assert tree(record) == ()
    assert codes(record) == {"sequence.malformed"}


def test_an_item_may_lack_everything():
    assert tree(read(report(BASIC, None, Dataset()))) == ({},)
