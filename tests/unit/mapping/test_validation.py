import copy

import pytest
from fhir.resources.R4B import (
    bundle,
    device,
    diagnosticreport,
    documentreference,
    endpoint,
    extension,
    imagingstudy,
    observation,
    patient,
)

from sync.errors import InvalidResource
from sync.mapping.imaging_study import build_study, with_subject
from sync.mapping.validation import validated
from tests.mapping_rows import SETTINGS, STUDY, row

SENTINEL = "ZQXSENTINEL"

R4_ELEMENTS = {
    imagingstudy.ImagingStudy: "identifier status modality subject encounter started basedOn referrer interpreter "
    "endpoint numberOfSeries numberOfInstances procedureReference procedureCode location reasonCode reasonReference "
    "note description series",
    imagingstudy.ImagingStudySeries: "uid number modality description numberOfInstances endpoint bodySite laterality "
    "specimen started performer instance",
    imagingstudy.ImagingStudySeriesInstance: "uid sopClass number title",
    imagingstudy.ImagingStudySeriesPerformer: "function actor",
    patient.Patient: "identifier active name telecom gender birthDate deceasedBoolean deceasedDateTime address "
    "maritalStatus multipleBirthBoolean multipleBirthInteger photo contact communication generalPractitioner "
    "managingOrganization link",
    patient.PatientContact: "relationship name telecom address gender organization period",
    patient.PatientCommunication: "language preferred",
    patient.PatientLink: "other type",
    endpoint.Endpoint: "identifier status connectionType name managingOrganization contact period payloadType "
    "payloadMimeType address header",
    observation.Observation: "identifier basedOn partOf status category code subject focus encounter effectiveDateTime "
    "effectivePeriod effectiveTiming effectiveInstant issued performer valueQuantity valueCodeableConcept valueString "
    "valueBoolean valueInteger valueRange valueRatio valueSampledData valueTime valueDateTime valuePeriod "
    "dataAbsentReason interpretation note bodySite method specimen device referenceRange hasMember derivedFrom "
    "component",
    observation.ObservationComponent: "code valueQuantity valueCodeableConcept valueString valueBoolean valueInteger "
    "valueRange valueRatio valueSampledData valueTime valueDateTime valuePeriod dataAbsentReason interpretation "
    "referenceRange",
    diagnosticreport.DiagnosticReport: "identifier basedOn status category code subject encounter effectiveDateTime "
    "effectivePeriod issued performer resultsInterpreter specimen result imagingStudy media conclusion conclusionCode "
    "presentedForm",
    documentreference.DocumentReference: "masterIdentifier identifier status docStatus type category subject date "
    "author authenticator custodian relatesTo description securityLabel content context",
    documentreference.DocumentReferenceContent: "attachment format",
    documentreference.DocumentReferenceContext: "encounter event period facilityType practiceSetting sourcePatientInfo "
    "related",
    device.Device: "definition udiCarrier status statusReason distinctIdentifier manufacturer manufactureDate "
    "expirationDate lotNumber serialNumber deviceName modelNumber partNumber type specialization version property "
    "patient owner contact location url note safety parent identifier",
    device.DeviceDeviceName: "name type",
    bundle.Bundle: "identifier type timestamp total link entry signature",
    bundle.BundleEntry: "link fullUrl resource search request response",
    bundle.BundleEntryRequest: "method url ifNoneMatch ifModifiedSince ifMatch ifNoneExist",
}
"""Elements of R4 4.0.1 (2019-11-01), by class of the R4B models that check them."""


@pytest.mark.parametrize("model", R4_ELEMENTS, ids=lambda model: model.__name__)
def test_the_models_of_r4b_have_exactly_the_elements_of_4_0_1(model):
    own = {name for name in model.__annotations__ if name in model.model_fields and not name.endswith("__ext")}
    assert own == set(R4_ELEMENTS[model].split())


def test_the_only_new_datatypes_of_r4b_are_refused():
    added = {"valueCodeableReference", "valueRatioRange"}
    assert added <= set(extension.Extension.model_fields)
    for name in added:
        with pytest.raises(InvalidResource, match=f"Patient.extension.0.{name}"):
            validated({"resourceType": "Patient", "extension": [{"url": "http://x.example", name: {"id": "a"}}]})


def imaging_study():
    made = build_study(STUDY, [row()], SETTINGS)
    return with_subject(made.imaging_study, "pt-x", made.patient)


def test_a_valid_resource_comes_back_as_it_is():
    resource = imaging_study()
    before = copy.deepcopy(resource)
    assert validated(resource) is resource
    assert resource == before


def broken(path, value):
    resource = copy.deepcopy(imaging_study())
    *way, last = path
    at = resource
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return resource


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["status"], None),
        (["subject"], None),
        (["series", 0, "modality"], None),
        (["series", 0, "instance", 0, "sopClass"], None),
        (["status"], "brand-new"),
        (["started"], "2024-01-17T10:15:30"),
        (["started"], "2024-01-17T10:15Z"),
        (["started"], 20240117),
        (["description"], ""),
        (["description"], " "),
        (["description"], f"{SENTINEL}\x07"),
        (["description"], "x" * (1024 * 1024 + 1)),
        (["numberOfSeries"], "1"),
        (["numberOfSeries"], -1),
        (["numberOfSeries"], 2**31),
        (["series", 0, "number"], 1.0),
        (["series", 0, "uid"], "1" * 65),
        (["series", 0, "uid"], f"{SENTINEL} x"),
        (["series", 0, "instance"], []),
        (["series", 0, "bodySite"], {}),
        (["identifier", 0, "system"], SENTINEL),
        (["identifier", 0, "use"], SENTINEL),
        (["subject", "reference"], f"Patient/{SENTINEL} x"),
        (["unheard"], SENTINEL),
    ],
)
def test_what_r4_forbids_is_refused_by_path_and_never_shows_a_value(path, value):
    with pytest.raises(InvalidResource) as caught:
        validated(broken(path, value))
    assert caught.value.detail.startswith("ImagingStudy.")
    assert ".".join(map(str, path)) in caught.value.detail
    assert SENTINEL not in str(caught.value)
    assert caught.value.__cause__ is None


def test_null_is_no_value():
    with pytest.raises(InvalidResource, match=r"ImagingStudy\.description"):
        validated({**imaging_study(), "description": None})


def test_a_type_that_the_mapping_never_makes_is_refused():
    with pytest.raises(InvalidResource, match="resourceType"):
        validated({"resourceType": "Medication"})
