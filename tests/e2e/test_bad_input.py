"""What no client should send is refused with a reason, or is harmless; nothing stops and nothing is lost."""

import base64
import json

import pytest

from tests.e2e.messages import event, packed
from tests.e2e.running import until


def refused(world, queue, message):
    """Send a message and return the code of the dead letter that comes of it."""
    known = world.letters().keys()
    world.send(queue, message)
    new = until(lambda: {s: code for s, (code, _) in world.letters().items() if s not in known}, "a dead letter")
    assert len(new) == 1
    return next(iter(new.values()))


def still_works(world, place):
    world.upload(place.name("after.dcm"), place.file())
    until(lambda: world.study(place.study()), "a file after bad input is synced")
    world.settle()


@pytest.mark.parametrize("other", [{"account": "foreign"}, {"container": "others"}])
def test_an_event_of_an_unknown_account_or_container_is_refused(embedded_world, place, other):
    code = refused(embedded_world, "objects", packed(event(place.name("a.dcm"), **other)))
    assert code == "event.foreign_source"
    still_works(embedded_world, place)


@pytest.mark.parametrize(
    "text", ["no JSON", "", "[]]", "42", '"text"', '{"specversion": "1.0"}', '{"id": 1, "eventType": null}']
)
def test_a_message_that_is_no_event_is_refused(embedded_world, place, text):
    assert refused(embedded_world, "objects", packed(text + " " * len(place.token))) == "event.malformed"


@pytest.mark.parametrize("content", ["<not base64>", base64.b64encode(b"\xff\xfe\x00 no text").decode()])
def test_a_message_that_cannot_be_decoded_is_refused_and_does_not_stay(embedded_world, place, content):
    world = embedded_world
    world.send("objects", content)
    until(lambda: any(code == "event.malformed" for code, _ in world.letters().values()), "a dead letter")
    world.settle()
    still_works(world, place)


def test_a_study_message_that_is_none_is_refused(embedded_world, place):
    assert refused(embedded_world, "studies", packed({"study": place.token})) == "event.malformed"
    still_works(embedded_world, place)


def test_a_good_event_beside_a_bad_one_is_obeyed(embedded_world, place):
    world = embedded_world
    known = world.letters().keys()
    world.upload(place.name("a.dcm"), place.file())
    world.send("objects", packed([{"bad": place.token}, event(place.name("a.dcm"))]))
    until(lambda: world.study(place.study()), "the file is synced")
    world.settle()
    assert len(world.letters().keys() - known) == 1


@pytest.mark.parametrize("kind", ["BlobCreated", "BlobDeleted"])
def test_a_blob_that_vanished_is_a_truth_and_no_failure(embedded_world, place, kind):
    known = embedded_world.letters().keys()
    embedded_world.send("objects", packed(event(place.name("never was.dcm"), kind=kind)))
    embedded_world.settle()
    assert embedded_world.letters().keys() == known


def test_a_blob_deleted_right_after_its_upload_leaves_nothing(embedded_world, place):
    world, known = embedded_world, embedded_world.letters().keys()
    for number in range(10):
        world.upload(place.name(f"{number}.dcm"), place.file(instance=number))
        world.delete(place.name(f"{number}.dcm"))
    world.settle()
    assert world.study(place.study()) is None
    assert world.letters().keys() == known


def test_an_event_that_says_deleted_of_a_blob_that_is_there_is_only_a_hint(embedded_world, place):
    world = embedded_world
    still_works(world, place)
    version = world.study(place.study())["meta"]["versionId"]
    world.send("objects", packed(event(place.name("after.dcm"), kind="BlobDeleted")))
    world.settle()
    assert world.study(place.study())["meta"]["versionId"] == version


def test_a_stale_event_in_the_other_schema_is_harmless(embedded_world, place):
    world = embedded_world
    still_works(world, place)
    stale = event(place.name("after.dcm"))
    other = {key: stale[key] for key in ("id", "subject", "data")} | {
        "topic": stale["source"],
        "eventType": stale["type"],
        "eventTime": stale["time"],
        "dataVersion": "",
        "metadataVersion": "1",
    }
    version = world.study(place.study())["meta"]["versionId"]
    world.send("objects", packed(json.loads(json.dumps([other, other]))))
    world.settle()
    assert world.study(place.study())["meta"]["versionId"] == version
