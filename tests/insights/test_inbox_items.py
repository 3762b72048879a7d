"""An inbox reads Communications of a service that stores what it is sent, without validation."""

from hypothesis import given
from hypothesis import strategies as st

from insights.inbox.items import ITEM, MARK, READER_TAG, STATE, SYSTEM, code_of, recipient_of, rule_of, state_of
from insights.inbox.reading import Owner, entries_of

ITEM_OF_OURS = {
    "id": "1",
    "category": [{"coding": [{"system": SYSTEM, "code": ITEM}]}],
    "identifier": [{"system": STATE, "value": "s1"}],
    "recipient": [{"reference": "Practitioner/7", "identifier": {"system": "urn:s", "value": "7"}}],
    "subject": {"reference": "Patient/1"},
    "topic": {"text": "nodules"},
    "sent": "2026-01-01T00:00:00+00:00",
    "payload": [{"contentString": "said: none"}],
    "meta": {"tag": [{"system": READER_TAG, "code": "x"}]},
}
MARK_OF_OURS = {
    **ITEM_OF_OURS,
    "id": "2",
    "category": [{"coding": [{"system": SYSTEM, "code": MARK}]}],
    "reasonCode": [{"coding": [{"system": SYSTEM, "code": "agreed"}]}],
    "inResponseTo": [{"reference": "Communication/1"}],
    "sender": {"display": "Ada"},
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["coding", "value", "code"]), inner),
    max_leaves=4,
)
OWNER = Owner("ada", frozenset({"Practitioner/7"}), frozenset())


def test_an_item_has_the_mark_on_its_state():
    (entry,) = entries_of([ITEM_OF_OURS], [ITEM_OF_OURS, MARK_OF_OURS])
    assert (entry.mark, entry.by, entry.lines, entry.patient) == ("agreed", "Ada", ["said: none"], "Patient/1")
    assert OWNER.is_named_by(ITEM_OF_OURS)


@given(st.sampled_from(sorted(ITEM_OF_OURS.keys() - {"id"})), ANYTHING)
def test_an_element_of_another_type_counts_as_missing(name, value):
    odd = {**ITEM_OF_OURS, name: value}
    (entry,) = entries_of([odd], [odd, {**MARK_OF_OURS, name: value}])
    told = (*entry.lines, entry.patient, entry.mark, entry.by, rule_of(odd), state_of(odd), code_of(odd))
    assert all(isinstance(text, str) for text in (*told, *vars_of(odd)))
    assert OWNER.is_named_by(odd) in {True, False}


def vars_of(item):
    to = recipient_of(item)
    return to.reference, to.system, to.value
