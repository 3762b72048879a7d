"""The same instances give the same bytes: in any order, any number of times, however they are spread over objects."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.config import MappingSettings
from sync.mapping.bundle import build_bundle
from sync.mapping.patient import build_patient
from sync.mapping.resource import canonical
from sync.model import ObjectRef, PatientRow, StudyRef
from tests.mapping_rows import SETTINGS, STUDY, row
from tests.property import examples

FEW = st.sampled_from([[], ["A"], ["B"], ["A", "B"]])
SCHEME = st.fixed_dictionaries(
    {"CodingSchemeDesignator": FEW, "CodingSchemeUID": st.sampled_from([["2.16.840.1"], ["2.16.840.2"]])}
)
CODE = st.fixed_dictionaries({"CodeValue": FEW, "CodingSchemeDesignator": FEW})
PERSON = st.fixed_dictionaries({"PersonIdentificationCodeSequence": st.lists(CODE, max_size=1)})
ALL = MappingSettings(detail="full", blob_url="https://images.blob.core.windows.net", blob_names=True)
SHORT = MappingSettings(instances=3)
NUMBERS = st.sampled_from([["1"], ["1.50"], ["x"], []])
ADMINISTERED = st.fixed_dictionaries({"RadionuclideTotalDose": NUMBERS, "RadiopharmaceuticalStartTime": NUMBERS})


def stored(number, container, key, **said):
    source = ObjectRef(account="images", container=container, name=key)
    return replace(row(number, key=key, **said), source=source)


ROWS = st.lists(
    st.builds(
        stored,
        st.integers(1, 6),
        container=st.sampled_from(["one", "two"]),
        series=st.sampled_from(["1.2.1", "1.2.2"]),
        order=st.sampled_from(["2024-01-01", "2024-01-02"]),
        key=st.integers(0, 10**6).map(str),
        PatientID=FEW,
        IssuerOfPatientID=FEW,
        PatientName=FEW,
        StudyDescription=FEW,
        Modality=st.sampled_from([["CT"], ["MR"], ["SR"], ["PT"], []]),
        StudyDate=st.sampled_from([["20240117"], ["20240118"], []]),
        SeriesDate=st.sampled_from([["20240117"], ["20240118"], []]),
        SeriesTime=st.sampled_from([["1015"], ["0800"], []]),
        SeriesNumber=st.sampled_from([["1"], ["2"], ["x"], []]),
        AccessionNumber=FEW,
        RequestAttributesSequence=st.lists(st.fixed_dictionaries({"AccessionNumber": FEW}), max_size=2),
        PerformingPhysicianName=FEW,
        OperatorIdentificationSequence=st.lists(PERSON, max_size=2),
        Manufacturer=FEW,
        DeviceSerialNumber=FEW,
        CodingSchemeIdentificationSequence=st.lists(SCHEME, max_size=1),
        SpecimenDescriptionSequence=st.lists(st.fixed_dictionaries({"SpecimenIdentifier": FEW}), max_size=2),
        KVP=NUMBERS,
        SliceThickness=NUMBERS,
        PixelSpacing=st.sampled_from([["1", "2"], ["2", "1"], []]),
        PatientWeight=NUMBERS,
        ContrastBolusAgent=FEW,
        EchoTime=NUMBERS,
        SharedFunctionalGroupsSequence=st.lists(
            st.fixed_dictionaries({"CTXRayDetailsSequence": st.just([{"KVP": ["7"]}])}), max_size=1
        ),
        RadiopharmaceuticalInformationSequence=st.lists(ADMINISTERED, max_size=2),
        AcquisitionTime=st.sampled_from([["10"], ["1130"], []]),
        ImageLaterality=st.sampled_from([["L"], ["R"], []]),
        AnatomicRegionSequence=st.sampled_from([[], [{"CodeMeaning": ["Knee"]}], [{"CodeMeaning": ["Foot"]}]]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda made: made.object_key,
)


@settings(max_examples=examples(80), deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 5))
def test_permutation_and_repetition_change_no_byte(rows, random, repeats):
    again = [*rows, *(random.choice(rows) for _ in range(repeats))]
    random.shuffle(again)
    for chosen in (SETTINGS, ALL, SHORT):
        (one, findings), (other, found_again) = build_bundle(STUDY, rows, chosen), build_bundle(STUDY, again, chosen)
        assert canonical(one) == canonical(other)
        assert findings == found_again


PATIENT_ROWS = st.lists(
    st.builds(
        lambda uid, day, **said: PatientRow(
            patient_key="k", study=StudyRef(study_instance_uid=uid), study_date=day, attributes=said
        ),
        st.integers(1, 10**6).map(lambda n: f"1.2.{n}"),
        st.sampled_from(["", "2024-01-17", "2023-01-01"]),
        PatientID=st.just(["4711"]),
        PatientName=FEW,
        PatientSex=st.sampled_from([["M"], ["F"], ["?"], []]),
        OtherPatientIDsSequence=st.lists(st.fixed_dictionaries({"PatientID": FEW}), max_size=3),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda made: made.study,
)


@settings(max_examples=examples(60), deadline=None)
@given(PATIENT_ROWS, st.randoms(use_true_random=False))
def test_a_patient_does_not_depend_on_the_order_of_his_studies(rows, random):
    again = list(rows)
    random.shuffle(again)
    one, other = build_patient("k", rows, SETTINGS), build_patient("k", again, SETTINGS)
    assert canonical(one.resource) == canonical(other.resource)
    assert one.findings == other.findings
