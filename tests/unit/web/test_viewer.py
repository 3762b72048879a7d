"""Where a study opens: the site's viewer, OHIF beside the DICOMweb root, or nowhere."""

import pytest

from sync.config import Settings
from sync.web.viewer import viewer_address

BASE = {"fhir_url": "http://localhost/fhir", "storage": "UseDevelopmentStorage=true"}


def address(**settings):
    return viewer_address("2.25.1", Settings.model_construct(**BASE, **settings))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ""),
        ({"viewer_url": "https://v.example/?s={study}"}, "https://v.example/?s=2.25.1"),
        (
            {"dicomweb_url": "https://pacs.example:8443/dicom-web"},
            "https://pacs.example:8443/ohif/viewer?StudyInstanceUIDs=2.25.1",
        ),
        ({"dicomweb_url": "https://pacs.example/dicom-web", "viewer_url": "none"}, ""),
        (
            {"dicomweb_url": "https://pacs.example/dicom-web", "viewer_url": "https://v.example/{study}"},
            "https://v.example/2.25.1",
        ),
        ({"dicomweb_url": "https://w-d.dicom.azurehealthcareapis.com/v2"}, ""),
    ],
)
def test_the_viewer_of_a_study(settings, expected):
    assert address(**settings) == expected


def test_what_the_uid_holds_cannot_leave_its_place():
    assert viewer_address("1&x=<", Settings.model_construct(**BASE, viewer_url="https://v.example/{study}")).endswith(
        "/1%26x%3D%3C"
    )
