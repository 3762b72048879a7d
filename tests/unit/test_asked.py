"""The watch over searches sees those of addresses, forms and batches, and names what Azure does not take."""

import json

import pytest

from tests.asked import Asked, searches_in

BATCH = {"entry": [{"request": {"method": "GET", "url": url}} for url in ("Patient/1", "Observation?focus=Patient/1")]}


@pytest.mark.parametrize(
    ("method", "path", "more", "expected"),
    [
        ("GET", "/Patient?_count=1&link=x", {}, ["Patient?_count=1&link=x"]),
        ("POST", "/Patient/_search", {"data": {"identifier": ["a|b"]}}, ["Patient?identifier=a%7Cb"]),
        ("POST", "", {"content": json.dumps(BATCH).encode()}, ["Observation?focus=Patient/1"]),
        ("GET", "/Patient/1", {}, []),
        ("GET", "/Patient/1/_history?_count=5", {}, []),
        ("GET", "/metadata", {}, []),
        ("GET", "?_getpages=1", {}, []),
        ("PUT", "/Patient/1", {"json": {}}, []),
    ],
)
def test_searches_are_seen(method, path, more, expected):
    assert searches_in(method, path, more) == expected


@pytest.mark.parametrize(
    ("search", "wrong"),
    [
        ("ImagingStudy?subject=Patient/1&_sort=-started&_count=1000", 0),
        ("ImagingStudy?_sort=-started,_lastUpdated", 1),
        ("ImagingStudy?_sort=modality", 1),
        ("Patient?_count=1001", 1),
        ("ImagingStudy?patient.identifier=a|b", 1),
        ("Patient?_count=2&ct=abc", 0),
        ("Patient?_count=many&_has:x=y", 0),
        ("Patient?_elements=identifier&colour=red", 0),
    ],
)
def test_what_azure_does_not_take_is_named(search, wrong):
    asked = Asked()
    asked.look_at(search)
    assert len(asked.wrong) == wrong
