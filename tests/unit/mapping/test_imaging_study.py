import pytest

from sync.config import MappingSettings
from sync.mapping.imaging_study import build_study, with_subject
from sync.mapping.resource import canonical
from sync.model import Finding, StudyRef
from tests.mapping_rows import CT_IMAGE, SETTINGS, STUDY, row

ACSN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
CHEST = {"system": "http://snomed.info/sct", "code": "43799004", "display": "Chest"}
ACCESSION = {"type": ACSN, "system": "urn:dicom-fhir-sync:accession-number", "value": "A-77"}


def built(*rows, settings=SETTINGS, study=STUDY):
    return build_study(study, rows or (row(),), settings)


def study_of(*rows, **options):
    return built(*rows, **options).imaging_study


def series_of(*rows, **options):
    return study_of(*rows, **options)["series"]


def codes(study):
    return [(f.keyword, f.code) for f in study.findings]


def test_a_typical_study_maps_completely():
    made = built(row(2), row(1))
    assert made.imaging_study == {
        "resourceType": "ImagingStudy",
        "id": "is-" + STUDY.key,
        "identifier": [
            {
                "use": "official",
                "type": {
                    "coding": [
                        {
                            "system": "http://dicom.nema.org/resources/ontology/DCM",
                            "code": "110180",
                            "display": "Study Instance UID",
                        }
                    ]
                },
                "system": "urn:dicom:uid",
                "value": "urn:oid:1.2.840.99999.1",
            },
            ACCESSION,
        ],
        "status": "available",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
        "started": "2024-01-17T10:15:30+01:00",
        "basedOn": [{"type": "ServiceRequest", "identifier": ACCESSION}],
        "referrer": {"type": "Practitioner", "display": "Bert Beispiel"},
        "numberOfSeries": 1,
        "numberOfInstances": 2,
        "description": "CT Thorax",
        "series": [
            {
                "uid": "1.2.840.99999.1.1",
                "number": 2,
                "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"},
                "description": "Thorax 5.0",
                "numberOfInstances": 2,
                "bodySite": CHEST,
                "instance": [
                    {
                        "uid": f"1.2.840.99999.9.{n}",
                        "sopClass": {
                            "system": "urn:ietf:rfc:3986",
                            "code": f"urn:oid:{CT_IMAGE}",
                            "display": "CT Image Storage",
                        },
                        "number": n,
                    }
                    for n in (1, 2)
                ],
            }
        ],
    }
    assert (made.series, made.instances, made.findings) == (1, 2, ())


def test_the_subject_is_a_reference_with_identifier_and_name():
    made = built()
    whole = with_subject(made.imaging_study, "pt-x", made.patient)
    assert whole["subject"] == {
        "reference": "Patient/pt-x",
        "identifier": {"system": "urn:dicom-fhir-sync:patient-id", "value": "4711"},
        "display": "Dr. Tina Maria Testmann",
    }
    assert "subject" not in made.imaging_study


def test_only_acquisition_modalities_reach_the_study_and_series_keep_theirs():
    made = study_of(
        row(1),
        row(2, series="1.2.2", Modality=["SR"]),
        row(3, series="1.2.3", Modality=["KO"]),
        row(4, series="1.2.4", Modality=["PT"]),
    )
    assert [m["code"] for m in made["modality"]] == ["CT", "PT"]
    assert sorted(s["modality"]["code"] for s in made["series"]) == ["CT", "KO", "PT", "SR"]


def test_a_study_of_reports_only_has_no_modality():
    assert "modality" not in study_of(row(Modality=["SR"]))


@pytest.mark.parametrize("missing", [None, [], [" "]])
def test_a_series_without_modality_is_of_another_one_and_says_so(missing):
    made = built(row(without=("Modality",)) if missing is None else row(Modality=missing))
    assert made.imaging_study["series"][0]["modality"]["code"] == "OT"
    assert "modality" not in made.imaging_study
    assert codes(made) == [("Modality", "modality.missing")]


def test_of_several_modalities_the_first_is_used():
    made = built(row(Modality=["MR", "CT"]))
    assert made.imaging_study["series"][0]["modality"]["code"] == "MR"
    assert codes(made) == [("Modality", "value.multiple")]


def test_a_modality_that_dicom_does_not_define_stays_without_system():
    made = built(row(Modality=["XR"]))
    assert made.imaging_study["series"][0]["modality"] == {"code": "XR"}
    assert codes(made) == [("Modality", "modality.unknown")]


def test_a_modality_that_is_newer_than_r4_has_the_same_system():
    made = built(row(Modality=["PA"]))
    coding = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "PA"}
    assert made.imaging_study["series"][0]["modality"] == coding
    assert made.imaging_study["modality"] == [coding]
    assert codes(made) == []


def test_series_and_instances_are_in_order_and_numberless_ones_last():
    rows = [
        row(1, series="1.2.9", SeriesNumber=["1"]),
        row(2, series="1.2.1", SeriesNumber=[]),
        row(3, series="1.2.5", SeriesNumber=["10"]),
        row(4, series="1.2.4", SeriesNumber=["10"], InstanceNumber=[]),
        row(5, series="1.2.4", SeriesNumber=["10"], InstanceNumber=["30"]),
        row(6, series="1.2.4", SeriesNumber=["10"], InstanceNumber=["4"]),
    ]
    made = series_of(*rows)
    assert [s["uid"] for s in made] == ["1.2.9", "1.2.4", "1.2.5", "1.2.1"]
    assert [i["uid"][-1] for i in made[1]["instance"]] == ["6", "5", "4"]


def test_broken_numbers_are_left_out():
    made = built(row(SeriesNumber=["-1"], InstanceNumber=["x"]))
    assert "number" not in made.imaging_study["series"][0]
    assert "number" not in made.imaging_study["series"][0]["instance"][0]
    assert codes(made) == [("InstanceNumber", "number.invalid"), ("SeriesNumber", "number.invalid")]


def test_a_corrected_copy_under_another_name_wins_by_the_time_of_the_store():
    wrong = row(1, key="b", order="2024-01-01", PatientID=["WRONG"], SeriesDescription=["rich", "er"])
    corrected = row(1, key="a", order="2024-01-02", PatientID=["RIGHT"], SeriesDescription=[])
    made = built(wrong, corrected)
    assert (made.series, made.instances) == (1, 1)
    assert made.patient.value == "RIGHT"
    assert ("SOPInstanceUID", "instance.several_contents") in codes(made)


def test_of_contents_of_one_time_the_copy_that_says_most_counts():
    made = built(row(1, key="b", SeriesDescription=[]), row(1, key="a", SeriesDescription=["rich"]))
    assert made.imaging_study["series"][0]["description"] == "rich"


def test_equal_copies_are_one_instance_and_no_finding():
    made = built(row(1, key="a", order="2024-01-01"), row(1, key="b", order="2024-01-02"))
    assert (made.series, made.instances) == (1, 1)
    assert codes(made) == []


def test_an_instance_that_two_series_claim_stays_in_both():
    made = built(row(1, key="a"), row(1, key="b", series="1.2.7"), row(2, key="c", series="1.2.7"))
    assert (made.series, made.instances) == (2, 3)
    assert codes(made) == [("SOPInstanceUID", "instance.several_series")]


def test_a_mixed_series_has_the_modality_that_acquires():
    rows = [row(1, Modality=["US"]), row(2, Modality=["SR"]), row(3, Modality=["SR"])]
    made = built(*rows)
    assert made.imaging_study["series"][0]["modality"]["code"] == "US"
    assert [concept["code"] for concept in made.imaging_study["modality"]] == ["US"]
    assert codes(made) == [("Modality", "series.conflicting_values")]


def test_a_study_names_every_acquisition_modality_of_a_mixed_series():
    made = built(row(1, Modality=["PT"]), row(2, Modality=["CT"]), row(3, Modality=["CT"]))
    assert [concept["code"] for concept in made.imaging_study["modality"]] == ["CT", "PT"]


def test_a_study_of_several_orders_names_them_all():
    chest = {
        "ProcedureCodeSequence": [{"CodeValue": ["CH"], "CodingSchemeDesignator": ["99X"], "CodeMeaning": ["Chest"]}]
    }
    knee = {
        "ProcedureCodeSequence": [{"CodeValue": ["KN"], "CodingSchemeDesignator": ["99X"], "CodeMeaning": ["Knee"]}]
    }
    made = built(
        row(1, AccessionNumber=["A-2"], **chest),
        row(2, AccessionNumber=["A-2"], **chest),
        row(3, series="1.2.7", AccessionNumber=["A-1"], **knee),
    )
    numbers = [identifier["value"] for identifier in made.imaging_study["identifier"][1:]]
    assert numbers == ["A-2", "A-1"]
    assert [resource["identifier"]["value"] for resource in made.imaging_study["basedOn"]] == ["A-2", "A-1"]
    assert [procedure["text"] for procedure in made.imaging_study["procedureCode"]] == ["Chest", "Knee"]


def test_a_missing_sop_class_is_said_to_be_unknown():
    made = built(row(SOPClassUID=["not a uid"]))
    assert made.imaging_study["series"][0]["instance"][0]["sopClass"] == {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    assert codes(made) == [("SOPClassUID", "uid.missing")]
    with_subject(made.imaging_study, "pt-x", made.patient)


def test_a_private_sop_class_is_kept_without_a_name():
    sop_class = series_of(row(SOPClassUID=["1.2.276.0.9"]))[0]["instance"][0]["sopClass"]
    assert sop_class == {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.276.0.9"}


def test_a_malformed_study_uid_is_kept_as_it_is():
    odd = StudyRef(study_instance_uid="1.2.03.4")
    made = built(row(study=odd), study=odd)
    assert made.imaging_study["identifier"][0]["value"] == "urn:oid:1.2.03.4"
    assert codes(made) == [("StudyInstanceUID", "uid.malformed")]


def test_an_accession_number_carries_its_issuer():
    issuer = [
        {"LocalNamespaceEntityID": ["RIS"], "UniversalEntityID": ["2.16.840.9"], "UniversalEntityIDType": ["ISO"]}
    ]
    made = study_of(row(IssuerOfAccessionNumberSequence=issuer))
    expected = {"type": ACSN, "system": "urn:oid:2.16.840.9", "value": "A-77", "assigner": {"display": "RIS"}}
    assert made["identifier"][1] == expected
    assert made["basedOn"] == [{"type": "ServiceRequest", "identifier": expected}]


def test_without_accession_number_there_is_no_request():
    made = study_of(row(AccessionNumber=[" "]))
    assert len(made["identifier"]) == 1
    assert "basedOn" not in made


def test_a_study_id_needs_a_configured_system():
    assert len(study_of(row(StudyID=["7"]))["identifier"]) == 2
    settings = MappingSettings(study_id_system="https://hospital.example/study-id")
    assert study_of(row(StudyID=["7"]), settings=settings)["identifier"][2] == {
        "system": "https://hospital.example/study-id",
        "value": "7",
    }


def test_the_time_of_a_study_is_never_that_of_another_date():
    rows = [
        row(1, StudyDate=["20240101"], StudyTime=["0800"]),
        row(2, StudyDate=["20240101"], StudyTime=[]),
        row(3, StudyDate=["20240202"], StudyTime=["0900"]),
    ]
    made = built(*rows)
    assert made.imaging_study["started"] == "2024-01-01T08:00:00+01:00"
    assert codes(made) == [("StudyDate", "study.conflicting_values")]


def test_a_study_time_without_a_date_starts_nothing():
    assert "started" not in study_of(row(without=("StudyDate",)))


def test_a_series_starts_with_its_earliest_instance():
    rows = [
        row(1, SeriesDate=["20240117"], SeriesTime=["1200"]),
        row(2, SeriesDate=["20240117"], SeriesTime=["1130"], TimezoneOffsetFromUTC=["-0100"]),
        row(3, SeriesDate=["20240117"], SeriesTime=["1145"]),
    ]
    assert series_of(*rows)[0]["started"] == "2024-01-17T11:45:00+01:00"


def test_the_start_of_the_study_is_not_that_of_the_series():
    assert "started" not in series_of(row())[0]


def test_a_coded_region_wins_over_the_text():
    region = [{"CodeValue": ["51185008"], "CodingSchemeDesignator": ["SCT"], "CodeMeaning": ["Chest"]}]
    assert series_of(row(AnatomicRegionSequence=region))[0]["bodySite"] == {
        "system": "http://snomed.info/sct",
        "code": "51185008",
        "display": "Chest",
    }
    assert series_of(row(AnatomicRegionSequence=[{}]))[0]["bodySite"] == CHEST


def test_a_body_part_is_looked_up_whatever_its_case():
    assert series_of(row(BodyPartExamined=["lspine "]))[0]["bodySite"]["code"] == "122496007"


def test_an_unknown_body_part_is_shown_without_a_code():
    made = built(row(BodyPartExamined=["Left toe"]))
    assert made.imaging_study["series"][0]["bodySite"] == {"display": "Left toe"}
    assert codes(made) == [("BodyPartExamined", "body_part.unknown")]


def test_procedures_are_coded():
    item = {"CodeValue": ["RPID16"], "CodingSchemeDesignator": ["RADLEX"], "CodeMeaning": ["CT Chest"]}
    assert study_of(row(ProcedureCodeSequence=[item, {}]))["procedureCode"] == [
        {
            "coding": [{"system": "http://www.radlex.org", "code": "RPID16", "display": "CT Chest"}],
            "text": "CT Chest",
        }
    ]


def test_a_scheme_that_one_file_declares_counts_for_the_study():
    scheme = [{"CodingSchemeDesignator": ["99LOCAL"], "CodingSchemeUID": ["2.16.840.3"]}]
    code = [{"CodeValue": ["1"], "CodingSchemeDesignator": ["99LOCAL"]}]
    made = built(row(1, CodingSchemeIdentificationSequence=scheme), row(2, ProcedureCodeSequence=code))
    assert made.imaging_study["procedureCode"][0]["coding"][0]["system"] == "urn:oid:2.16.840.3"
    assert codes(made) == []


def test_the_number_of_frames_is_an_extension_of_the_instance():
    frames = series_of(row(NumberOfFrames=["12"]))[0]["instance"][0]["extension"]
    assert frames == [{"url": "http://hl7.eu/fhir/imaging/StructureDefinition/NumberOfFrames", "valueInteger": 12}]
    assert "extension" not in series_of(row(NumberOfFrames=["-1"]))[0]["instance"][0]


@pytest.mark.parametrize(("side", "code"), [("R", "24028007"), ("L", "7771000"), ("B", "51440002"), ("U", "66459002")])
def test_laterality_is_coded(side, code):
    assert series_of(row(Laterality=[side]))[0]["laterality"]["code"] == code


def test_laterality_of_the_images_counts_if_they_agree():
    agree = [row(1, ImageLaterality=["L"]), row(2, ImageLaterality=["L"]), row(3)]
    assert series_of(*agree)[0]["laterality"]["code"] == "7771000"
    made = built(*agree, row(4, ImageLaterality=["R"]))
    assert "laterality" not in made.imaging_study["series"][0]
    assert codes(made) == [("ImageLaterality", "laterality.differs")]


def test_an_unknown_laterality_is_left_out():
    made = built(row(Laterality=["left"]))
    assert "laterality" not in made.imaging_study["series"][0]
    assert codes(made) == [("Laterality", "laterality.unknown")]


@pytest.mark.parametrize(
    "attributes",
    [
        {"DocumentTitle": ["Report"], "ContentLabel": ["LABEL"]},
        {"ConceptNameCodeSequence": [{"CodeValue": ["1"], "CodeMeaning": ["Report"]}], "ContentLabel": ["LABEL"]},
        {"DocumentTitle": [" "], "ConceptNameCodeSequence": [], "ContentLabel": ["Report"]},
    ],
)
def test_the_title_is_the_first_that_an_object_has(attributes):
    assert series_of(row(**attributes))[0]["instance"][0]["title"] == "Report"


def test_the_place_is_the_most_precise_one_that_is_named():
    assert study_of(row(InstitutionName=["Hospital"]))["location"] == {"display": "Hospital"}
    named = row(InstitutionName=["Hospital"], InstitutionalDepartmentName=["Radiology"], PerformedLocation=[""])
    assert study_of(named)["location"] == {"display": "Radiology"}


def test_an_endpoint_is_made_and_referenced_if_a_root_is_configured():
    made = built(settings=MappingSettings(dicomweb_url="https://pacs.example/dicomweb/"))
    assert made.endpoint["address"] == "https://pacs.example/dicomweb"
    assert made.endpoint["status"] == "active"
    assert made.endpoint["connectionType"]["code"] == "dicom-wado-rs"
    assert made.imaging_study["endpoint"] == [{"reference": f"Endpoint/{made.endpoint['id']}"}]
    assert built().endpoint is None


def test_the_address_of_an_endpoint_is_the_service_root():
    with_path = built(settings=MappingSettings(dicomweb_url="https://pacs.example/dicomweb/studies"))
    without = built(settings=MappingSettings(dicomweb_url="https://pacs.example/dicomweb"))
    assert with_path.endpoint == without.endpoint


def test_findings_of_the_header_are_passed_on():
    said = row()
    noted = Finding(keyword="PatientName", code="text.undecodable", action="replaced")
    record = type(said.record)(
        study=said.record.study,
        series_instance_uid=said.record.series_instance_uid,
        sop_instance_uid=said.record.sop_instance_uid,
        attributes=said.record.attributes,
        findings=(noted,),
    )
    assert built(type(said)(object_key=said.object_key, record=record, order=said.order)).findings == (noted,)


def test_an_instance_whose_uid_fits_no_id_is_left_out_and_the_others_stay():
    made = built(row(1), row(2, series="not a uid"))
    assert made.instances == 1
    assert codes(made) == [("SeriesInstanceUID", "uid.unusable")]


def test_building_changes_nothing_in_the_rows():
    rows = [row(1), row(2)]
    before = canonical([r.record.attributes for r in rows])
    made = built(*rows)
    with_subject(made.imaging_study, "pt-x", made.patient)
    assert canonical([r.record.attributes for r in rows]) == before
