"""Requests and reasons of a study."""

import pytest

from sync.config import MappingSettings
from tests.mapping_rows import row
from tests.unit.mapping.test_imaging_study import ACCESSION, built, codes, study_of

V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
RIS = [{"LocalNamespaceEntityID": ["RIS"], "UniversalEntityID": ["2.16.840.9"], "UniversalEntityIDType": ["ISO"]}]


def reason(value="1", meaning="Fall"):
    return {"CodeValue": [value], "CodingSchemeDesignator": ["SCT"], "CodeMeaning": [meaning]}


def concept(value="1", meaning="Fall", text=None):
    coding = {"system": "http://snomed.info/sct", "code": value, "display": meaning}
    return {"coding": [coding], "text": text or meaning}


def numbers(study):
    return [
        (one["identifier"]["type"]["coding"][0]["code"], one["identifier"]["system"], one["identifier"]["value"])
        for one in study["basedOn"]
    ]


def test_every_number_of_a_request_is_a_logical_reference_with_its_issuer():
    item = {
        "AccessionNumber": ["A-78"],
        "IssuerOfAccessionNumberSequence": RIS,
        "PlacerOrderNumberImagingServiceRequest": ["P-1"],
        "OrderPlacerIdentifierSequence": [
            {"UniversalEntityID": ["https://ward.example"], "UniversalEntityIDType": ["URI"]}
        ],
        "FillerOrderNumberImagingServiceRequest": ["F-1"],
    }
    made = study_of(row(RequestAttributesSequence=[item]))
    assert numbers(made) == [
        ("ACSN", "urn:dicom-fhir-sync:accession-number", "A-77"),
        ("ACSN", "urn:oid:2.16.840.9", "A-78"),
        ("FILL", "urn:dicom-fhir-sync:filler-order-number", "F-1"),
        ("PLAC", "https://ward.example", "P-1"),
    ]
    assert {one["type"] for one in made["basedOn"]} == {"ServiceRequest"}
    assert made["basedOn"][1]["identifier"]["assigner"] == {"display": "RIS"}


def test_requests_of_all_instances_and_both_sequences_are_there_each_once():
    made = study_of(
        row(1, RequestAttributesSequence=[{"AccessionNumber": ["A-77"]}, {"AccessionNumber": ["B"]}]),
        row(2, series="1.2.2", RequestAttributesSequence=[{"AccessionNumber": ["B"]}, {"AccessionNumber": ["C"]}]),
        row(3, series="1.2.3", ReferencedRequestSequence=[{"AccessionNumber": ["D"]}, {}]),
    )
    assert [value for _, _, value in numbers(made)] == ["A-77", "B", "C", "D"]
    assert made["basedOn"][0]["identifier"] == ACCESSION


def test_one_number_of_two_issuers_is_two_requests():
    items = [{"AccessionNumber": ["A-77"], "IssuerOfAccessionNumberSequence": RIS}]
    assert len(study_of(row(RequestAttributesSequence=items))["basedOn"]) == 2


def test_a_configured_default_is_the_system_of_numbers_without_issuer():
    settings = MappingSettings(placer_system="urn:oid:1.2.3")
    item = {"PlacerOrderNumberImagingServiceRequest": ["P-1"]}
    made = study_of(row(RequestAttributesSequence=[item], without=("AccessionNumber",)), settings=settings)
    assert numbers(made) == [("PLAC", "urn:oid:1.2.3", "P-1")]


def test_a_request_without_any_number_is_known_by_its_procedure():
    item = {"RequestedProcedureID": ["RP-1"]}
    made = study_of(row(RequestAttributesSequence=[item], without=("AccessionNumber",)))
    identifier = {"type": {"text": "Requested Procedure ID"}, "value": "RP-1"}
    assert made["basedOn"] == [{"type": "ServiceRequest", "identifier": identifier}]
    numbered = study_of(row(RequestAttributesSequence=[{**item, "AccessionNumber": ["A-77"]}]))
    assert numbers(numbered) == [("ACSN", "urn:dicom-fhir-sync:accession-number", "A-77")]


def test_the_accession_number_of_most_instances_comes_first_and_the_others_are_kept():
    rows = [row(1), row(2, AccessionNumber=["B"]), row(3, AccessionNumber=["B"])]
    made = built(*rows)
    assert [identifier["value"] for identifier in made.imaging_study["identifier"][1:]] == ["B", "A-77"]
    system = "urn:dicom-fhir-sync:accession-number"
    assert numbers(made.imaging_study) == [("ACSN", system, "B"), ("ACSN", system, "A-77")]
    assert codes(made) == []


@pytest.mark.parametrize("sequence", ["RequestAttributesSequence", "ReferencedRequestSequence"])
def test_reasons_are_read_from_the_items_and_each_is_there_once(sequence):
    item = {"ReasonForRequestedProcedureCodeSequence": [reason()], "ReasonForTheRequestedProcedure": ["Fall"]}
    rows = [row(n, series=f"1.2.{n}", **{sequence: [item, item]}) for n in (1, 2)]
    assert study_of(*rows)["reasonCode"] == [concept()]


def test_a_text_beside_one_code_is_its_text_and_beside_several_one_of_its_own():
    text = {"ReasonForTheRequestedProcedure": ["Fell from a ladder"]}
    one = {**text, "ReasonForRequestedProcedureCodeSequence": [reason()]}
    two = {**text, "ReasonForRequestedProcedureCodeSequence": [reason(), reason("2", "Pain")]}
    assert study_of(row(RequestAttributesSequence=[one]))["reasonCode"] == [concept(text="Fell from a ladder")]
    assert study_of(row(RequestAttributesSequence=[two]))["reasonCode"] == [
        concept(),
        concept("2", "Pain"),
        {"text": "Fell from a ladder"},
    ]
    assert study_of(row(RequestAttributesSequence=[text]))["reasonCode"] == [{"text": "Fell from a ladder"}]


def test_why_it_was_performed_is_a_reason_too():
    made = study_of(row(ReasonForPerformedProcedureCodeSequence=[reason(), {}]))
    assert made["reasonCode"] == [concept()]


def test_empty_items_are_no_requests_and_no_reasons():
    empty = {"AccessionNumber": [""], "ReasonForTheRequestedProcedure": [" "], "RequestedProcedureID": []}
    made = study_of(row(RequestAttributesSequence=[{}, empty], without=("AccessionNumber",)))
    assert "basedOn" not in made
    assert "reasonCode" not in made


def _procedure(value):
    return {"CodeValue": [value], "CodingSchemeDesignator": ["LN"], "CodeMeaning": [value]}


def _procedures_of(*rows):
    return [procedure["coding"][0]["code"] for procedure in study_of(*rows).get("procedureCode", [])]


def test_an_order_for_which_no_series_says_what_was_performed_has_what_was_requested():
    done = row(1, series="1.2.1", AccessionNumber=["A"], ProcedureCodeSequence=[_procedure("done")])
    same = row(2, series="1.2.2", AccessionNumber=["A"], RequestedProcedureCodeSequence=[_procedure("asked")])
    item = {"AccessionNumber": ["B"], "RequestedProcedureCodeSequence": [_procedure("further")]}
    other = row(3, series="1.2.3", AccessionNumber=["B"], RequestAttributesSequence=[item])
    nameless = row(4, series="1.2.4", without=("AccessionNumber",), RequestAttributesSequence=[item])
    assert _procedures_of(done, same) == ["done"]
    assert _procedures_of(done, nameless) == ["done"]
    assert _procedures_of(nameless) == ["further"]
    assert _procedures_of(other, same, done) == _procedures_of(done, same, other) == ["done", "further"]
