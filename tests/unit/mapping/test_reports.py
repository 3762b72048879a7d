"""What reports make: doses, measurements, diagnostic reports."""

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header, read_json
from sync.mapping.imaging_study import build_study
from sync.mapping.ownership import DERIVED_ELEMENTS
from sync.mapping.resource import derived_id
from sync.model import LedgerRow, ObjectKey
from tests import reports as r
from tests.reports import code, coded, container, item, number, text, uidref

SETTINGS = MappingSettings(timezone="Europe/Berlin")
DCM = "http://dicom.nema.org/resources/ontology/DCM"
UCUM = "http://unitsofmeasure.org"
SCT = "http://snomed.info/sct"


def study_of(*files, settings=SETTINGS):
    rows = []
    for index, data in enumerate(files):
        record = parse_header(data, size=len(data), limits=HeaderLimits())
        rows.append(LedgerRow(object_key=ObjectKey("a", str(index)), record=record, order=""))
    return build_study(rows[0].record.study, rows, settings)


def made(data, kind="Observation", settings=SETTINGS):
    resources = [resource for resource in study_of(data, settings=settings).derived if resource["resourceType"] == kind]
    return [resource for resource in resources if not is_event(resource)]


def is_event(resource):
    """Whether it is the Observation of an irradiation event."""
    return resource.get("code", {}).get("coding", [{}])[0].get("code") in ("113819", "113706")


def events(data):
    return [resource for resource in study_of(data).derived if is_event(resource)]


def codes(data):
    return {finding.code for finding in study_of(data).findings}


def component(observation, value):
    return [concept for concept in observation["component"] if concept["code"]["coding"][0]["code"] == value]


def quantity(value, unit):
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


# Dose


def test_a_ct_dose_report_makes_one_observation_with_its_total():
    [dose] = made(r.ct_dose())
    [total] = component(dose, "113813")
    assert total["valueQuantity"] == quantity(412.5, "mGy.cm")
    assert dose["code"]["coding"][0]["code"] == "73569-6"
    assert dose["valueString"] == (
        "Total Number of Irradiation Events: 2 {events}; CT Dose Length Product Total: 412.5 mGy.cm"
    )
    assert component(dose, "113830") == []


def test_a_dose_says_where_it_is_from():
    built = study_of(r.ct_dose())
    dose = built.derived[-1]
    study = {"reference": f"ImagingStudy/{built.imaging_study['id']}"}
    assert dose["focus"] == dose["partOf"] == [study]
    assert dose["identifier"][0]["value"] == "urn:oid:2.25.100"
    assert dose["identifier"][0]["type"]["coding"][0]["code"] == "sop-instance-uid"
    assert dose["basedOn"] == built.imaging_study["basedOn"]
    assert dose["device"] == {
        "type": "Device",
        "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:2.25.777"},
        "display": "Maker Model X",
    }
    assert dose["id"] == derived_id("Observation", study_ref(built), "2.25.100")


def study_ref(built):
    from tests.worlds import STUDY

    assert built.imaging_study["identifier"][0]["value"].endswith(STUDY.study_instance_uid)
    return STUDY


def test_a_dose_was_given_when_irradiation_began():
    assert made(r.ct_dose())[0]["effectiveDateTime"] == "2026-01-02T09:05:00+01:00"
    assert made(r.nuclear_dose())[0]["effectiveDateTime"] == "2026-01-02T08:30:00.5-05:00"
    assert made(r.projection_dose())[0]["effectiveDateTime"] == "2026-01-02T09:00:00+01:00"


@pytest.mark.parametrize(("flag", "status"), [("PARTIAL", "preliminary"), ("COMPLETE", "final"), (None, "final")])
def test_a_partial_dose_is_preliminary(flag, status):
    assert made(r.ct_dose(CompletionFlag=flag))[0]["status"] == status


def test_totals_of_two_planes_stand_side_by_side_and_are_never_summed():
    [dose] = made(r.projection_dose())
    totals = component(dose, "113722")
    assert [dose["valueQuantity"] for dose in totals] == [quantity(0.00027, "Gy.m2")] * 2
    assert [dose["code"]["text"] for dose in totals] == [
        "Dose Area Product Total, Plane A",
        "Dose Area Product Total, Plane B",
    ]


def test_an_empty_total_is_left_out_and_found():
    assert component(made(r.projection_dose())[0], "113725") == []
    assert "measurement.empty" in codes(r.projection_dose())


def test_values_of_a_vendor_are_no_totals():
    assert "Height" not in made(r.projection_dose())[0]["valueString"]


def test_the_doses_of_two_breasts_are_told_apart():
    sides = [
        number(
            code("111637", meaning="Accumulated Average Glandular Dose"),
            value,
            "mGy",
            coded(code("272741003", "SCT"), code(side, "SCT", meaning), rel="HAS CONCEPT MOD"),
        )
        for value, side, meaning in (("1.5", "80248007", "Left breast"), ("1.7", "73056007", "Right breast"))
    ]
    file = r.report(
        r.XRAY_DOSE,
        code("113701"),
        coded(code("121058"), code("71651007", "SCT", "Mammography"), rel="HAS CONCEPT MOD"),
        container(code("113702"), *sides),
    )
    totals = component(made(file)[0], "111637")
    assert [(dose["valueQuantity"]["value"], dose["code"]["text"].rpartition(", ")[2]) for dose in totals] == [
        (1.5, "Left breast"),
        (1.7, "Right breast"),
    ]


def test_a_radiopharmaceutical_dose_names_agent_nuclide_activity_and_route():
    [dose] = made(r.nuclear_dose())
    assert component(dose, "113507")[0]["valueQuantity"] == quantity(210, "MBq")
    assert component(dose, "123005")[0]["valueQuantity"] == quantity(2.5, "cm3")
    named = {concept["code"]["coding"][0]["code"]: concept.get("valueCodeableConcept") for concept in dose["component"]}
    assert named["349358000"]["text"] == "FDG"
    assert named["89457008"]["text"] == "18F"
    assert named["410675002"]["text"] == "Intravenous"


def test_the_authorizing_person_is_named():
    assert made(r.projection_dose())[0]["performer"] == [{"type": "Practitioner", "display": "Ina Strahl"}]


def test_a_dose_report_without_totals_stays_an_instance():
    assert made(r.ct_dose(dlp=None)) != []
    empty = r.report(r.XRAY_DOSE, code("113701"), container(code("113811")))
    assert made(empty) == []
    assert "dose.no_totals" in codes(empty)


def acquisition(uid, ctdi):
    return container(
        code("113819", meaning="CT Acquisition"),
        uidref(code("113769"), uid),
        container(code("113829"), number(code("113830", meaning="Mean CTDIvol"), ctdi, "mGy")),
    )


def made_with_events(data):
    return [resource for resource in study_of(data).derived if resource["resourceType"] == "Observation"]


def test_events_of_a_dose_report_without_totals_are_made():
    file = r.report(r.XRAY_DOSE, code("113701"), acquisition("2.25.61", "7.5"), acquisition("2.25.62", "11"))
    first, second = made_with_events(file)
    assert [observation["component"][-1]["valueQuantity"]["value"] for observation in (first, second)] == [7.5, 11]
    assert "dose.no_totals" in codes(file)
    assert first["partOf"] == first["focus"]


@pytest.mark.parametrize("title", [None, code("121070"), code("113701", "99LOCAL")])
def test_the_class_of_a_dose_report_says_what_it_is_whatever_its_title(title):
    total = container(code("113811"), number(code("113813"), "33", "mGy.cm"))
    event, dose = made_with_events(r.report(r.XRAY_DOSE, title, total, acquisition("2.25.63", "2")))
    assert component(dose, "113813")[0]["valueQuantity"]["value"] == 33
    assert dose["hasMember"] == [{"reference": f"Observation/{event['id']}"}]


def test_a_dose_report_in_a_comprehensive_one_is_a_dose_too():
    file = r.report(r.COMPREHENSIVE, code("113701"), container(code("113811"), number(code("113813"), "1", "mGy.cm")))
    assert len(made(file)) == 1
    assert made(file, "DiagnosticReport") == []


def test_an_unknown_unit_is_shown_without_a_code():
    [dose] = made(r.ct_dose(unit="furlong"))
    assert component(dose, "113813")[0]["valueQuantity"] == {"value": 412.5, "unit": "furlong"}
    assert "unit.unknown" in codes(r.ct_dose(unit="furlong"))


@pytest.mark.parametrize("value", ["NaN", "INF", "-inf", "1e400", "1E16", "1e-20", "12,5", "x", "0x10", "1 2"])
def test_what_is_no_number_that_servers_keep_is_left_out(value):
    file = r.ct_dose(dlp="12345678").replace(b"12345678", value.ljust(8).encode())
    assert component(made(file)[0], "113813") == []
    assert "measurement.invalid" in codes(file)


@pytest.mark.parametrize(
    ("written", "value"),
    [("8.664e-005", 8.664e-05), ("12.0", 12), ("1E3", 1000), ("-0", 0), ("+.5", 0.5), ("5.", 5), (" 7 ", 7)],
)
def test_numbers_are_taken_in_the_forms_that_vendors_write(written, value):
    dose = component(made(r.ct_dose(dlp=written))[0], "113813")[0]["valueQuantity"]["value"]
    assert (dose, type(dose)) == (value, type(value))


# Measurements


def by_id(observations, place):
    [one] = [observation for observation in observations if observation["id"].endswith(f"-{place}")]
    return one


def test_a_measurement_group_has_its_measurements_as_members():
    observations = made(r.measurements())
    group = observations[-1]
    assert group["id"].endswith("-1")
    assert group["hasMember"] == [
        {"reference": f"Observation/{observation['id']}"} for observation in observations[:-1]
    ]
    assert group["code"]["text"] == "Morphologically abnormal"
    assert group["valueCodeableConcept"]["text"] == "Nodule"
    assert {"coding": [{"system": DCM, "code": "125007"}], "text": "Measurement Group"} in group["category"]


def test_a_measurement_has_a_quantity_and_says_how_it_came_about():
    diameter = by_id(made(r.measurements()), "1.9")
    assert diameter["valueQuantity"] == quantity(10.5, "mm")
    assert diameter["code"]["coding"] == [{"system": SCT, "code": "81827009", "display": "Diameter"}]
    [derivation] = component(diameter, "121401")
    assert (derivation["code"]["text"], derivation["valueCodeableConcept"]["text"]) == ("Derivation", "Mean")


def test_evaluations_in_codes_and_words_are_members_too():
    observations = made(r.measurements())
    assert by_id(observations, "1.10")["valueCodeableConcept"]["text"] == "Not significant"
    assert by_id(observations, "1.11")["valueString"] == "seen before"


def test_group_and_members_say_where_how_by_what_and_of_which_lesion():
    for resource in made(r.measurements()):
        assert resource["bodySite"]["coding"][0]["code"] == "39607008"
        assert resource["bodySite"]["text"] == "Lung, Right"
        assert resource["method"]["text"] == "SUV body weight"
        assert (resource["device"]["type"], resource["device"]["display"]) == ("Device", "NodeFinder 2.1")
        [side] = component(resource, "272741003")
        assert side["valueCodeableConcept"]["coding"] == [{"system": SCT, "code": "24028007", "display": "Right"}]
        assert resource["performer"] == [{"type": "Practitioner", "display": "Rita Lese"}]
        assert {"urn:oid:2.25.100", "urn:oid:2.25.4711", "Lesion 1"} == {one["value"] for one in resource["identifier"]}
        assert resource["derivedFrom"][0]["reference"].startswith("ImagingStudy/is-")
        assert resource["status"] == "final"


def test_an_algorithm_is_a_device_by_name_and_version_that_all_its_results_refer_to():
    built = study_of(r.measurements())
    [device] = [device for device in built.devices if device["deviceName"][0]["name"] == "NodeFinder"]
    assert device["version"] == [{"value": "2.1"}]
    observations = [resource for resource in built.derived if resource["resourceType"] == "Observation"]
    assert {observation["device"]["reference"] for observation in observations} == {f"Device/{device['id']}"}
    assert [resource for resource in built.derived if resource["resourceType"] == "Device"] == []


def test_another_version_of_an_algorithm_is_another_device():
    older = r.measurements(
        container(
            code("125007"),
            text(code("111001"), "NodeFinder", rel="HAS OBS CONTEXT"),
            number(code("1", "99X"), "1", "mm"),
        )
    )
    names = [(device["deviceName"][0]["name"], device.get("version")) for device in study_of(older).devices]
    assert ("NodeFinder", None) in names
    assert ("NodeFinder", [{"value": "2.1"}]) in names


def test_coded_conclusions_are_codes_of_the_report():
    tumour = code("126537000", "SCT", "Neoplasm of bone")
    section = container(code("121076", meaning="Conclusions"), coded(code("121077", meaning="Conclusion"), tumour))
    file = r.report(r.ENHANCED, code("11528-7", "LN", "Radiology Report"), section, section)
    [report] = made(file, "DiagnosticReport")
    assert [concept["coding"] for concept in report["conclusionCode"]] == [
        [{"system": SCT, "code": "126537000", "display": "Neoplasm of bone"}]
    ]


def test_a_verifying_observer_has_the_identifier_of_the_site():
    observer = Dataset()
    observer.VerifyingObserverName = "Lese^Rita"
    observer.VerifyingObserverIdentificationCodeSequence = [code("D-17", "99SITE", "Rita Lese")]
    [report] = made(r.text_report(VerifyingObserverSequence=[observer]), "DiagnosticReport")
    assert report["resultsInterpreter"] == [
        {"type": "Practitioner", "identifier": {"value": "D-17"}, "display": "Rita Lese"}
    ]


def test_a_report_whose_words_were_left_out_is_not_final():
    long = r.report(r.BASIC, code("11528-7", "LN"), text(code("121071", meaning="Finding"), "x" * 70_000))
    [report] = made(long, "DiagnosticReport")
    assert report["status"] == "partial"
    assert "value.too_long" in codes(long)


def _with_a_finding_elsewhere(tree, kind):
    """Let a service keep the text of a report, or what holds it, apart from its metadata, or send nonsense."""
    spoiled = tree["0040A730"]["Value"][0]["0040A730"]
    if kind == "text elsewhere":
        spoiled["Value"][0]["0040A160"] = {"vr": "UT", "BulkDataURI": "https://dicom.example/bulk/1"}
    elif kind == "text of another kind":
        spoiled["Value"][0]["0040A160"] = {"vr": "FD", "Value": [1.5]}
    else:
        spoiled["Value"] = ["no item"]
    return tree


@pytest.mark.parametrize("kind", ["text elsewhere", "text of another kind", "no items"])
def test_whatever_is_lost_of_a_report_it_is_not_final(kind):
    said = text(code("121071", "DCM", "Finding"), "a mass")
    data = r.report(r.BASIC, code("11528-7", "LN"), container(code("121070", "DCM", "Findings"), said))
    tree = dcmread(BytesIO(data)).to_json_dict() | {
        "0040A491": {"vr": "CS", "Value": ["COMPLETE"]},
        "0040A493": {"vr": "CS", "Value": ["VERIFIED"]},
    }
    assert [report["status"] for report in of_json(tree, "DiagnosticReport")] == ["final"]
    assert [report["status"] for report in of_json(_with_a_finding_elsewhere(tree, kind), "DiagnosticReport")] == [
        "partial"
    ]


def of_json(tree, kind):
    record = read_json(tree)
    row = LedgerRow(object_key=ObjectKey("a", "1"), record=record, order="")
    return [
        resource for resource in build_study(record.study, [row], SETTINGS).derived if resource["resourceType"] == kind
    ]


def test_numbers_of_a_report_that_are_in_no_container_are_measurements():
    size = number(code("11820-8", "LN", "BPD"), "51", "mm")
    bare = r.report(r.ENHANCED, code("18748-4", "LN"), size, text(code("121071", "DCM", "Finding"), "normal"))
    [made_of_it] = made(bare)
    assert made_of_it["valueQuantity"]["value"] == 51
    [report] = made(bare, "DiagnosticReport")
    assert {"reference": f"Observation/{made_of_it['id']}"} in report["result"]


def test_a_structured_document_of_a_class_that_is_not_known_is_told():
    assert "content.not_read" in codes(r.report("1.2.840.10008.5.1.4.1.1.88.99", code("1", "99X")))
    assert "content.not_read" not in codes(r.report("1.2.840.10008.5.1.4.1.1.88.59", code("113000")))


def test_a_dose_report_of_which_an_event_is_lost_is_preliminary():
    tree = dcmread(BytesIO(r.ct_dose())).to_json_dict()
    assert [observation["status"] for observation in of_json(tree, "Observation")][-1] == "final"
    tree["0040A730"]["Value"].append({"0040A730": {"vr": "SQ", "Value": ["no item"]}})
    assert {observation["status"] for observation in of_json(tree, "Observation")} == {"preliminary"}


def test_an_observation_has_its_own_uid_and_time_where_it_states_them():
    own = number(code("1", "99X", "Own"), "1", "mm")
    own.ObservationUID, own.ObservationDateTime = "2.25.999", "20260104120000+0200"
    one = by_id(made(r.measurements(own)), "1.12")
    assert "urn:oid:2.25.999" in {identifier["value"] for identifier in one["identifier"]}
    assert one["issued"] == "2026-01-04T12:00:00+02:00"


def test_an_own_site_wins_over_that_of_the_group():
    site = coded(code("363698007", "SCT"), code("10200004", "SCT", "Liver"), rel="HAS CONCEPT MOD")
    assert by_id(made(r.measurements(number(code("1", "99X"), "1", "mm", site))), "1.12")["bodySite"]["text"] == "Liver"


def test_an_empty_measurement_is_left_out_and_the_others_stay():
    file = r.measurements(number(code("1", "99X"), None))
    assert len(made(file)) == len(made(r.measurements()))
    assert "measurement.empty" in codes(file)


def test_a_measurement_without_a_name_is_left_out():
    file = r.measurements(number(code("1"), "1", "mm"), item("NUM", None, MeasuredValueSequence=[_one_mm()]))
    assert "content.no_name" in codes(file)
    assert len(made(file)) == len(made(r.measurements())) + 1


def _one_mm():
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "1", [code("mm", "UCUM")]
    return measured


def test_more_measurements_than_one_report_may_have_are_cut_with_a_finding(monkeypatch):
    monkeypatch.setattr("sync.mapping.measurements.MOST_OBSERVATIONS", 3)
    file = r.report(
        r.COMPREHENSIVE_3D,
        code("126000"),
        container(code("126010"), *(container(code("125007"), number(code("1"), "1", "mm")) for _ in range(5))),
    )
    assert len(made(file)) <= 3
    assert "content.too_many" in codes(file)


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"CompletionFlag": "PARTIAL"}, "preliminary"),
        ({"VerificationFlag": "UNVERIFIED"}, "preliminary"),
        ({"PreliminaryFlag": "PRELIMINARY"}, "preliminary"),
        ({"PreliminaryFlag": "FINAL", "VerificationFlag": "UNVERIFIED"}, "final"),
        ({"CompletionFlag": None, "VerificationFlag": None}, "unknown"),
    ],
)
def test_measurements_are_as_final_as_their_report(flags, status):
    assert {resource["status"] for resource in made(r.measurements(**flags))} == {status}


# Reports


def test_a_text_report_makes_a_diagnostic_report_with_its_words_escaped():
    [report] = made(r.text_report(), "DiagnosticReport")
    assert report["code"]["coding"] == [
        {"system": "http://loinc.org", "code": "11528-7", "display": "Radiology Report"}
    ]
    assert report["conclusion"] == "Benign.\nNo follow-up."
    assert "A &lt;b&gt;nodule&lt;/b&gt; &amp; more<br/>seen" in report["text"]["div"]
    assert report["issued"] == "2026-01-03T10:15:00+01:00"
    assert report["effectiveDateTime"] == "2026-01-02T09:00:00+01:00"


@pytest.mark.parametrize("sop_class", [r.BASIC, r.ENHANCED, r.COMPREHENSIVE, r.COMPREHENSIVE_3D])
def test_every_kind_of_text_report_makes_one(sop_class):
    assert [resource["resourceType"] for resource in study_of(r.text_report(sop_class)).derived] == [
        "DiagnosticReport",
        "DocumentReference",
    ]


@pytest.mark.parametrize(
    ("flags", "status", "document"),
    [
        ({}, "final", "final"),
        ({"VerificationFlag": "UNVERIFIED"}, "preliminary", "preliminary"),
        ({"CompletionFlag": "PARTIAL"}, "partial", "preliminary"),
        ({"CompletionFlag": None, "VerificationFlag": None}, "unknown", None),
    ],
)
def test_a_report_is_final_only_when_a_person_has_verified_it(flags, status, document):
    file = r.text_report(**flags)
    assert made(file, "DiagnosticReport")[0]["status"] == status
    assert made(file, "DocumentReference")[0].get("docStatus") == document


def test_who_verified_a_report_is_named():
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerificationDateTime = "Prüf^Paul", "20260103"
    file = r.text_report(VerifyingObserverSequence=[observer], SpecificCharacterSet="ISO_IR 192")
    assert made(file, "DiagnosticReport")[0]["resultsInterpreter"] == [{"type": "Practitioner", "display": "Paul Prüf"}]


def test_a_report_in_place_of_another_is_amended_and_names_it():
    file = r.replacing_report()
    [report], [document] = made(file, "DiagnosticReport"), made(file, "DocumentReference")
    assert (report["status"], document["docStatus"]) == ("amended", "amended")
    assert [(concept["code"], concept["target"]["identifier"]["value"]) for concept in document["relatesTo"]] == [
        ("replaces", "urn:oid:2.25.99")
    ]


@pytest.mark.parametrize("root", ["https://pacs.example/dicom-web", "https://pacs.example/dicom-web/studies/"])
def test_the_document_is_where_the_dicomweb_service_has_it(root):
    [document] = made(r.text_report(), "DocumentReference", MappingSettings(dicomweb_url=root))
    [content] = document["content"]
    assert content["attachment"]["url"] == (
        "https://pacs.example/dicom-web/studies/2.25.1/series/2.25.10/instances/2.25.100"
    )
    assert content["attachment"]["contentType"] == "application/dicom"


def test_without_a_dicomweb_service_the_document_has_its_uid_and_no_url():
    [document] = made(r.text_report(), "DocumentReference")
    assert "url" not in document["content"][0]["attachment"]
    assert document["masterIdentifier"]["value"] == "urn:oid:2.25.100"


@pytest.mark.parametrize("sop_class", [r.PDF, r.CDA])
def test_an_encapsulated_document_is_known_by_its_title(sop_class):
    file = r.report(sop_class, None, DocumentTitle="Cardiac report", CompletionFlag=None)
    assert made(file, "DiagnosticReport")[0]["code"] == {"text": "Cardiac report"}
    assert made(file, "DocumentReference")[0]["content"][0]["attachment"]["title"] == "Cardiac report"


def test_measurements_in_a_report_of_another_title_are_its_results():
    group = container(code("125007"), number(code("81827009", "SCT", "Diameter"), "3", "cm"))
    file = r.report(r.COMPREHENSIVE, code("11528-7", "LN"), container(code("126010"), group))
    observations, [report] = made(file), made(file, "DiagnosticReport")
    assert report["result"] == [{"reference": f"Observation/{observations[-1]['id']}"}]
    assert len(observations) == 2


def test_key_objects_make_nothing_of_their_own():
    file = r.report(r.KEY_OBJECTS, code("113000", meaning="Of Interest"), text(code("113012"), "look"))
    built = study_of(file)
    assert built.derived == ()
    assert built.imaging_study["series"][0]["instance"][0]["title"] == "Of Interest"


def test_a_ct_event_states_ctdivol_and_is_a_member_of_the_totals():
    [event] = events(r.ct_dose())
    assert component(event, "113830")[0]["valueQuantity"] == quantity(8.1, "mGy")
    assert made(r.ct_dose())[0]["hasMember"] == [{"reference": f"Observation/{event['id']}"}]
    assert (event["status"], event["device"]["display"]) == ("final", "Maker Model X")


def test_an_x_ray_event_states_its_doses_region_time_and_uid():
    event = container(
        code("113706", meaning="Irradiation Event X-Ray Data"),
        uidref(code("113769"), "2.25.815", rel="CONTAINS"),
        item("DATETIME", code("111526"), DateTime="20260102091500", rel="CONTAINS"),
        coded(code("123014", meaning="Target Region"), code("80891009", "SCT", "Heart")),
        number(code("122130", meaning="Dose Area Product"), "0.0002", "Gy.m2"),
        number(code("113738", meaning="Dose (RP)"), "0.01", "Gy"),
    )
    totals = container(code("113702"), number(code("113722", meaning="Dose Area Product Total"), "0.0002", "Gy.m2"))
    [one] = events(r.report(r.XRAY_DOSE, code("113701"), totals, event))
    assert [concept["code"]["coding"][0]["code"] for concept in one["component"]] == ["123014", "122130", "113738"]
    assert one["effectiveDateTime"] == "2026-01-02T09:15:00+01:00"
    assert one["identifier"][1]["value"] == "urn:oid:2.25.815"


def test_an_event_without_a_dose_makes_nothing():
    totals = container(code("113811"), number(code("113813", meaning="DLP Total"), "1", "mGy.cm"))
    file = r.report(r.XRAY_DOSE, code("113701"), totals, container(code("113819"), coded(code("123014"), code("1"))))
    assert events(file) == []
    assert "hasMember" not in made(file)[0]


def test_groups_below_findings_of_other_templates_are_observations_with_the_site_of_what_holds_them():
    group = container(code("125007", meaning="Measurement Group"), number(code("18083-6", "LN", "LV wall"), "9", "mm"))
    section = container(
        code("121070", meaning="Findings"),
        coded(code("363698007", "SCT"), code("87878005", "SCT", "Left ventricle"), rel="HAS CONCEPT MOD"),
        group,
    )
    biometry = container(code("125005", meaning="Biometry Group"), number(code("11820-8", "LN", "BPD"), "55", "mm"))
    images = container(code("111028", meaning="Image Library"), number(code("1", "99X", "Pixels"), "3"))
    nested = container(code("125002", meaning="Fetal Biometry"), biometry)
    file = r.report(r.COMPREHENSIVE, code("125200", meaning="Adult Echocardiography"), images, section, nested)
    wall, head, biparietal = made(file)
    assert wall["bodySite"]["coding"][0]["code"] == "87878005"
    assert head["hasMember"] == [{"reference": f"Observation/{wall['id']}"}]
    assert biparietal["valueQuantity"] == quantity(55, "mm")
    [report] = made(file, "DiagnosticReport")
    assert [reference["reference"] for reference in report["result"]] == [
        f"Observation/{resource['id']}" for resource in (head, biparietal)
    ]


def test_a_report_whose_words_are_too_many_for_a_narrative_is_not_final():
    words = [text(code("121071", meaning="Finding"), "&" * 60_000) for _ in range(5)]
    file = r.report(r.ENHANCED, code("11528-7", "LN", "Radiology Report"), *words)
    [report] = made(file, "DiagnosticReport")
    assert ("text" in report, report["status"]) == (False, "partial")


STORAGE = "1.2.840.10008.5.1.4.1.1"


def test_an_enhanced_dose_report_makes_the_observation_of_its_totals():
    [dose] = made(r.ct_dose(SOPClassUID=f"{STORAGE}.88.76"))
    assert component(dose, "113813")[0]["valueQuantity"] == quantity(412.5, "mGy.cm")


@pytest.mark.parametrize("which", ["67", "68", "76"])
def test_a_dose_report_of_another_title_is_a_finding(which):
    built = study_of(r.text_report(f"{STORAGE}.88.{which}"))
    assert built.derived == ()
    assert "dose.no_totals" in {finding.code for finding in built.findings}


@pytest.mark.parametrize("which", ["50", "65", "69", "72", "73"])
def test_echo_patient_dose_and_cad_are_reports_in_words(which):
    [report] = made(r.text_report(f"{STORAGE}.88.{which}", VerificationFlag="UNVERIFIED"), "DiagnosticReport")
    assert report["conclusion"] == "Benign.\nNo follow-up."
    assert "<p>Finding: A &lt;b&gt;nodule" in report["text"]["div"]
    assert report["status"] == "preliminary"


@pytest.mark.parametrize(
    "which", ["88.40", "88.70", "88.71", "88.74", "88.75", "88.77", "88.1", "78.6", "79.1", "90.1"]
)
def test_a_structured_document_that_is_not_read_is_a_finding(which):
    built = study_of(r.text_report(f"{STORAGE}.{which}"))
    assert built.derived == ()
    assert "content.not_read" in {finding.code for finding in built.findings}


@pytest.mark.parametrize("which", ["3", "4", "5"])
def test_an_encapsulated_model_is_a_document_and_no_report(which):
    file = r.report(f"{STORAGE}.104.{which}", code("85040-4", "LN", "Model"), Modality="M3D", CompletionFlag=None)
    built = study_of(file, settings=MappingSettings(dicomweb_url="https://pacs.example/dicom-web"))
    [document] = built.derived
    assert (document["resourceType"], document["date"]) == ("DocumentReference", "2026-01-03T10:15:00+01:00")
    assert document["type"]["coding"][0]["code"] == "85040-4"
    assert [content["attachment"]["contentType"] for content in document["content"]] == ["application/dicom"]
    assert document["context"]["related"] == [{"reference": f"ImagingStudy/{built.imaging_study['id']}"}]


def test_the_pdf_inside_stands_beside_the_dicom_object():
    file = r.report(r.PDF, None, DocumentTitle="Cardiac report", CompletionFlag=None)
    root = "https://pacs.example/dicom-web"
    [document] = made(file, "DocumentReference", MappingSettings(dicomweb_url=root))
    whole, inside = (content["attachment"] for content in document["content"])
    assert inside == {"contentType": "application/pdf", "url": f"{whole['url']}/rendered", "title": "Cardiac report"}
    assert len(made(file, "DocumentReference")[0]["content"]) == 1
    [report] = made(file, "DiagnosticReport", MappingSettings(dicomweb_url=root))
    assert report["presentedForm"] == [inside]
    assert "presentedForm" not in made(file, "DiagnosticReport")[0]
    [other] = made(r.report(r.CDA, None), "DocumentReference", MappingSettings(dicomweb_url=root))
    assert len(other["content"]) == 1


# All


FILES = [r.ct_dose, r.projection_dose, r.nuclear_dose, r.measurements, r.text_report]


def test_order_and_repeats_change_nothing():
    files = [make(sop=f"2.25.{n}") for n, make in enumerate(FILES, 500)]
    once = study_of(*files)
    again = study_of(*reversed(files), *files)
    assert once.derived == again.derived
    assert len({(resource["resourceType"], resource["id"]) for resource in once.derived}) == len(once.derived)


def test_every_element_that_is_written_is_known_as_ours():
    files = [make(sop=f"2.25.{n}") for n, make in enumerate(FILES, 500)]
    files.append(r.report(r.PDF, None, DocumentTitle="Knee", sop="2.25.600"))
    for resource in study_of(*files).derived:
        assert set(resource) - {"resourceType", "id"} <= DERIVED_ELEMENTS[resource["resourceType"]]


def test_what_is_referred_to_comes_first():
    files = [make(sop=f"2.25.{n}") for n, make in enumerate(FILES, 500)]
    seen = set()
    for resource in study_of(*files).derived:
        for reference in [*resource.get("hasMember", ()), *resource.get("result", ())]:
            assert reference["reference"] in seen
        seen.add(f"{resource['resourceType']}/{resource['id']}")


def found_by(name, version="1"):
    group = container(
        code("125007"),
        text(code("111001"), name, rel="HAS OBS CONTEXT"),
        text(code("111003"), version, rel="HAS OBS CONTEXT"),
        text(code("112039"), name, rel="HAS OBS CONTEXT"),
        number(code("81827009", "SCT", "Diameter"), "7", "mm"),
    )
    return r.report(
        r.COMPREHENSIVE_3D,
        code("126000"),
        container(code("126010"), group),
        SpecificCharacterSet="ISO_IR 192",
    )


@pytest.mark.parametrize(
    ("placed", "bytes_of"),
    [("XYZ~~", (b"XYZ\xc4~", b"XYZ\xd6~")), ("XYZ~~", (b"XYZ\x07~", b"XYZ\x08~"))],
    ids=["undecodable", "controls"],
)
def test_algorithms_whose_names_were_altered_are_not_one_device(placed, bytes_of):
    built = [study_of(found_by(placed).replace(placed.encode(), raw)) for raw in bytes_of]
    assert [study.devices for study in built] == [(), ()]
    for study in built:
        measured = study.derived[0]
        assert "reference" not in measured["device"]
        assert measured["device"]["display"].endswith(" 1")
        assert not any(identifier.get("type") for identifier in measured["identifier"])


def test_an_algorithm_whose_version_was_altered_is_not_that_without_one():
    [altered] = study_of(found_by("Finder", "~~~~").replace(b"~~~~", b"~\xc4~~")).derived[:1]
    assert "reference" not in altered["device"]
