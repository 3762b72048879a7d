"""What we may write passes the validator of a real server, also where no file at hand says so."""

from sync.mapping.bundle import build_bundle
from sync.mapping.terminology import LATER_MODALITIES, R4_MODALITIES
from tests.e2e.files import errors
from tests.mapping_rows import SETTINGS, STUDY, row


def test_every_modality_and_unknown_ones_are_valid(hapi_world):
    modalities = sorted(R4_MODALITIES | LATER_MODALITIES | {"XR", "NOSUCH"})
    rows = [row(n, key=str(n), series=f"1.2.{n}", Modality=[modality]) for n, modality in enumerate(modalities, 1)]
    bundle, _ = build_bundle(STUDY, rows, SETTINGS)
    resources = [entry["resource"] for entry in bundle["entry"]]
    (study,) = [each for each in resources if each["resourceType"] == "ImagingStudy"]
    assert {series["modality"]["code"] for series in study["series"]} == set(modalities)
    assert [errors(hapi_world.fhir, each) for each in resources] == [[] for _ in resources]
