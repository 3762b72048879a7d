"""Every page and button over memory: what is shown, to whom, and what hostile values cannot do."""

import asyncio
import html
import json
import math
import re
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from sync.delivery.backoff import postpone
from sync.errors import FhirUnavailable, RemovalHeld, StoreUnavailable
from sync.events import Sources
from sync.model import Cursor, DeadLetter, SubjectKind
from sync.monitoring.counts import store_counts
from sync.monitoring.history import floor
from sync.operators.pause import pause_projection, projection_pause
from sync.operators.walks import begin_walk
from sync.protocol.removals import may_remove
from sync.replay.jobs import begin_replay, kinds_of
from sync.replay.requests import ReplayRequest, cursor_of
from sync.replay.sources import Blobs
from sync.telemetry.instruments import OBJECT_OUTCOME, OBJECTS
from sync.telemetry.measurements import HOUR, MINUTE, TENTH, MeasurementKey, MetricRow, single
from sync.testing.feed import MemoryBlobFeed
from sync.walks.exporting import new_export
from sync.walks.sharing import cut_walk, read_walk
from sync.web import exchange, rendering, study_pages
from sync.web.buttons import ACTS
from sync.web.dashboard import dashboard
from sync.web.exchange import Request
from sync.web.overview import RANGES
from tests.change_feed import record
from tests.walking import one_batch
from tests.worlds import STUDY, UNREADABLE, MemoryWorld

SOURCES = Sources(account="memory", containers=frozenset({"dicom"}))
URL = "https://app.example/api/dashboard"
OUR_OWN = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
HOSTILE = "<script>alert(1)</script>\u202e\"'&" + "x" * 4000


@pytest.fixture
def w():
    return MemoryWorld(operators="key")


async def get(w, page="", **query):
    request = Request(query={k: str(v) for k, v in query.items()}, params={"page": page})
    return await dashboard(request, URL, "GET", SOURCES, w.services)


async def post(w, headers=OUR_OWN, **fields):
    request = Request(headers=headers, params={"page": "act"}, body=urlencode(fields).encode())
    return await dashboard(request, URL, "POST", SOURCES, w.services)


async def follow(w, answer):
    assert answer.status == 303, answer.body
    target = urlsplit(answer.headers["Location"])
    return await get(w, target.path.partition("/dashboard")[2].strip("/"), **dict(parse_qsl(target.query)))


async def test_an_empty_world_is_in_sync_and_says_what_to_do(w):
    page = await get(w)
    assert page.status == 200
    assert "In sync" in page.body
    assert "Upload a DICOM file" in page.body


@pytest.mark.parametrize(
    ("path", "page", "base"),
    [
        ("/api/dashboard/studies/", "studies", "/api/dashboard"),
        ("/API/Dashboard/Studies", "Studies", "/API/Dashboard"),
        ("/api/dashboard/", "", "/api/dashboard"),
        ("/imaging/api/DASHBOARD/letters/", "letters", "/imaging/api/DASHBOARD"),
    ],
)
async def test_links_are_right_for_a_path_in_any_case_and_with_a_slash_at_its_end(w, path, page, base):
    request = Request(params={"page": page})
    answer = await dashboard(request, f"https://app.example{path}", "GET", SOURCES, w.services)
    assert answer.status == 200
    links = re.findall(r'href="([^"#?]*)', answer.body)
    assert f"{base}/studies" in links
    assert [link for link in links if link.startswith("/") and not link.startswith(base)] == []


async def test_what_waits_too_long_is_behind_with_the_reason(w):
    await w.ingest(w.put("a.dcm"))
    w.clock.advance(200)
    page = await get(w)
    assert ">Behind<" in page.body or ">Failing<" in page.body
    assert "waits" in page.body


async def test_a_study_shows_state_findings_and_timeline(w):
    await w.arrive("a.dcm", PatientSex="X")
    page = await get(w, "study", uid=STUDY.study_instance_uid)
    assert "synced" in page.body
    assert "PatientSex" in page.body
    assert "Written to FHIR: 1 series, 1 instance." in page.body
    assert "An object was stored" in page.body
    assert w.imaging_study()["id"] in page.body


async def test_of_a_study_with_very_many_objects_the_page_says_that_it_did_not_look_at_all(w, monkeypatch):
    for name in "abc":
        await w.ingest(w.put(f"{name}.dcm"))
    assert "<dd>3</dd>" in (await get(w, "study", uid=STUDY.study_instance_uid)).body
    monkeypatch.setattr(study_pages, "MOST_OBJECTS", 2)
    page = await get(w, "study", uid=STUDY.study_instance_uid)
    assert "<dd>2 or more</dd>" in page.body
    assert "At least 2 objects were stored" in page.body


async def test_a_study_is_found_by_its_uid_and_by_its_accession_number(w):
    await w.arrive("a.dcm", AccessionNumber="A 77")
    link = urlencode({"uid": STUDY.study_instance_uid})
    for asked in (STUDY.study_instance_uid, f"urn:oid:{STUDY.study_instance_uid}", "A 77"):
        assert link in (await get(w, "studies", q=asked)).body
    assert "No study is known" in (await get(w, "studies", q="nothing")).body


async def test_an_unknown_study_is_not_found_and_says_so(w):
    for page, query in (("study", {"uid": "2.25.9"}), ("nowhere", {}), ("confirm", {"action": "explode"})):
        answer = await get(w, page, **query)
        assert answer.status == 404
        assert "Back to the overview" in answer.body
    assert rendering.file("../rendering.py").status == 404


async def test_dead_letters_of_one_folder_are_told_apart(w):
    for number in range(3):
        await w.ingest(w.put(f"folder/bad {number}.dcm", b"no dicom at all"))
    page = await get(w, "letters", of="header.not_dicom")
    assert len(set(re.findall(r"<code>([0-9a-f]{12}…)</code>", page.body))) == 3
    assert len(set(re.findall(r'aria-label="Select ([0-9a-f]+…)"', page.body))) == 3


async def test_dead_letters_are_grouped_listed_retried_and_discarded(w):
    await w.ingest(w.put("bad.dcm", b"no dicom at all"))
    assert "header.not_dicom" in (await get(w)).body
    listed = await get(w, "letters", of="header.not_dicom")
    assert "Discard" in listed.body
    asked = await get(w, "confirm", action="discard", of="header.not_dicom")
    assert "This affects 1 dead letter of header.not_dicom." in asked.body
    refused = await post(w, action="discard", of="header.not_dicom", who="Ada")
    assert refused.status == 400
    retried = await follow(w, await post(w, action="retry", of="header.not_dicom", who="Ada"))
    assert "Dead letters requeued: 1" in retried.body
    done = await follow(w, await post(w, action="discard", of="header.not_dicom", who="Ada", why="a test file"))
    assert "Discarded: 1" in done.body
    assert "There are no dead letters" in done.body
    assert {entry.who for entry in await w.services.audit.newest(10)} == {"Ada"}


async def letters_in_a_large_world(w, letters):
    for n in range(letters):
        await w.ingest(w.put(f"{n}", b"no dicom at all"))
    w.store.tallies.size = 2
    await store_counts(w.services)


async def test_of_very_many_letters_the_pages_say_when_they_were_counted_and_read_none_of_them(w):
    await letters_in_a_large_world(w, 9)
    await get(w)  # now this process knows what to do about the code
    w.clock.advance(20)

    def unread(*_, **__):
        raise AssertionError("a letter was read")

    w.store.dead_letters.page = w.store.dead_letters.read = unread
    asked = await get(w, "confirm", action="discard", of="header.not_dicom")
    assert "20 s ago there were 9." in asked.body
    for page in ("", "letters"):
        shown = (await get(w, page)).body
        assert '<td class="number" data-of="Count">9</td>' in shown
        assert "counted in turn;" in shown
        assert "Replace or delete" in shown


async def test_who_discards_very_many_letters_sees_them_gone(w):
    await letters_in_a_large_world(w, 9)
    done = await follow(w, await post(w, action="discard", of="header.not_dicom", who="Ada", why="a test"))
    assert "Discarded: 9" in done.body
    assert "header.not_dicom" not in (await get(w)).body


async def test_projection_is_paused_and_resumed_with_who_and_why(w):
    page = await follow(w, await post(w, action="pause", who="Ada", why="FHIR moves"))
    assert "Projection is paused" in page.body
    assert "FHIR moves" in page.body
    assert (await projection_pause(w.services)).who == "Ada"
    await w.arrive("a.dcm")
    page = await follow(w, await post(w, action="resume", who="Ada"))
    assert "Studies enqueued: 1" in page.body
    assert await projection_pause(w.services) is None


async def test_removals_that_are_held_are_shown_and_decided_with_who_and_why(w):
    assert "Removals are held" not in (await get(w)).body
    held = RemovalHeld("20 studies")
    for word, action in (("confirmed", "confirm-removals"), ("refused", "refuse-removals")):
        for number in range(30):
            await may_remove(f"{word} {number}", w.services)
        await w.store.dead_letters.put(DeadLetter.of(SubjectKind.STUDY, STUDY.key, held, w.clock.now()))
        page = await get(w)
        assert "Removals are held" in page.body
        assert f"action={action}" in page.body
        assert (await post(w, action=action, who="Ada")).status == 400, "without a reason"
        page = await follow(w, await post(w, action=action, who="Ada", why="the source was looked at"))
        assert f"Removals {word}: " in page.body
        assert "Removals are held" not in page.body
    assert {entry.action for entry in await w.store.audit.newest(9)} >= {"removals.confirm", "removals.refuse"}


async def test_a_page_that_asks_about_removals_decides_only_on_those_that_were_held_when_it_was_shown(w):
    held = RemovalHeld("20 studies")
    for action, word in (("confirm-removals", "confirmed"), ("refuse-removals", "refused")):
        asked = await get(w, "confirm", action=action)
        assert "none held later" in asked.body
        [shown] = re.findall(r'name="until" value="([^"]+)"', asked.body)
        w.clock.advance(60)
        await w.store.dead_letters.put(DeadLetter.of(SubjectKind.STUDY, STUDY.key, held, w.clock.now()))
        report = await follow(w, await post(w, action=action, until=shown, who="Ada", why="they are right"))
        assert f"Removals {word}: 0." in report.body
        assert len(w.dead_letters()) == 1
    assert (await post(w, action=action, until="yesterday", who="Ada", why="they are right")).status == 400


async def test_rejected_files_and_drift_are_told_beside_a_flow_that_is_in_sync(w):
    await w.arrive("none", UNREADABLE)
    body = (await get(w)).body
    assert 'id="verdict">In sync except 1 dead letter<' in body
    assert "<title>In sync except 1 dead letter: overview" in body
    assert "<strong>Dead letters</strong> 1 to resolve" in body
    assert "<strong>Drift</strong> none" in body


async def test_the_band_has_the_button_that_the_cause_asks_for(w):
    assert 'id="steps"' not in (await get(w)).body
    await w.arrive("none", UNREADABLE)
    band = (await get(w)).body.partition('id="band"')[2].partition("</section>")[0]
    assert "of=header.not_dicom" in band
    assert "View 1 dead letter" in band
    await pause_projection(w.services, who="Ada", why="restore")
    assert "action=resume" in (await get(w)).body.partition('id="band"')[2].partition("</section>")[0]


async def test_a_code_links_to_its_entry_of_the_runbook(w):
    page = await get(w, "runbook", of="fhir.unavailable")
    assert page.status == 200
    assert "What it means, and what to do" in page.body
    assert (await get(w, "runbook", of=HOSTILE)).status == 404


async def test_the_stages_tell_count_and_age(w):
    await w.ingest(w.put("a.dcm"))
    w.clock.advance(40)
    body = (await get(w)).body
    assert "<h3>Ledger</h3><p><strong>1</strong> dirty study</p>" in body
    assert "oldest 40 s" in body


@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize("seconds", [0, 30, 59.5])
async def test_no_chart_goes_on_past_now(w, range_, seconds):
    now = floor(w.clock.now(), HOUR) + timedelta(minutes=7, seconds=seconds)
    w.clock.advance((now - w.clock.now()).total_seconds() + 3600)
    for length, name in ((MINUTE, "a"), (TENTH, ""), (HOUR, "")):
        sample = {MeasurementKey(OBJECTS.name, ((OBJECT_OUTCOME.key, "synced"),)): single(1.0, ())}
        start = floor(w.clock.now(), length)
        await w.store.metrics.write(MetricRow(seconds=length, start=start, worker=name, samples=sample))
    body = (await get(w, range=range_)).body
    (drawn,) = re.findall(
        r'data-start="(\d+)" data-step="(\d+)"[^>]*data-series="([^"]+)"><title[^>]*>Objects ins', body
    )
    start, step = int(drawn[0]), int(drawn[1])
    ((_, runs),) = json.loads(html.unescape(drawn[2]))
    assert runs[-1] == [1, 1], "the step of now is the last one, and has what was measured in it"
    last = start + step * (sum(count for _, count in runs) - 1)
    assert last <= w.clock.now().timestamp() < last + step


async def test_a_study_is_verified_and_what_is_found_is_counted(w):
    await w.arrive("a.dcm")
    w.edit("ImagingStudy", w.projection().fhir_id, description="changed by another")
    uid = STUDY.study_instance_uid
    page = await follow(w, await post(w, action="verify-study", uid=uid, who="Ada"))
    assert "Differences: 1" in page.body


@pytest.mark.parametrize("name", ACTS)
async def test_every_button_asks_and_is_refused_without_the_operator_role(w, name):
    target = {"of": "header.not_dicom", "uid": STUDY.study_instance_uid}
    assert ACTS[name].question in (await get(w, "confirm", action=name, **target)).body
    reader = MemoryWorld()
    assert (await get(reader, "confirm", action=name, **target)).status == 403
    assert (await post(reader, action=name, who="Ada", why="x", **target)).status == 403
    assert "Pause projection" not in (await get(reader)).body


async def test_another_site_cannot_press_a_button(w):
    cross = {**OUR_OWN, "Sec-Fetch-Site": "cross-site"}
    assert (await post(w, headers=cross, action="pause", who="Ada", why="x")).status == 403
    assert await projection_pause(w.services) is None
    answer = await dashboard(Request(params={"page": "act"}), URL, "GET", SOURCES, w.services)
    assert answer.status == 400


async def test_no_one_acts_without_a_name(w):
    assert (await post(w, action="pause", who=" ", why="x")).status == 400


async def test_hostile_values_are_shown_and_run_nothing(w):
    await pause_projection(w.services, who=HOSTILE, why=HOSTILE)
    await w.arrive("a.dcm", StudyDescription=HOSTILE[:60], PatientName=HOSTILE[:60])
    pages = [
        await get(w),
        await get(w, "studies", q=HOSTILE),
        await get(w, "study", uid=HOSTILE),
        await get(w, "letters", of=HOSTILE),
        await get(w, "confirm", action="discard", of=HOSTILE),
        await get(w, "audit"),
        await get(w, "jobs"),
        await get(w, "letter", kind="object", subject=HOSTILE),
        await get(w, "runbook", of=HOSTILE),
        await get(w, did="pause", n=HOSTILE),
        await get(w, did=HOSTILE, n="1", range=HOSTILE, code=HOSTILE),
    ]
    for page in pages:
        assert page.status in (200, 404)
        assert "<script>alert" not in page.body
        assert not re.search(r"\son\w+=|\sstyle=|<script(?! src=)", page.body)


async def test_pages_forbid_the_browser_whatever_they_do_not_need(w):
    policy = (await get(w)).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


async def test_links_keep_the_key_that_the_visitor_came_with(w):
    page = await get(w, code="the key")
    links = re.findall(r'(?:href|action)="(/api/dashboard[^"]*)"', page.body)
    assert links
    assert all("code=the+key" in link for link in links)


async def test_when_storage_does_not_answer_the_page_says_so(w, monkeypatch):
    async def refuse(*_):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(w.services.history, "latest", refuse)
    page = await get(w)
    assert page.status == 503
    assert "store.unavailable" in page.body
    assert 'data-refresh="10"' in page.body, "it would say so for ever"
    assert f'As of <time datetime="{w.clock.now().isoformat()}">' in page.body


async def test_when_storage_hangs_a_page_says_so_long_before_the_browser_gives_up(w, monkeypatch):
    async def hang(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(w.services.history, "latest", hang)
    monkeypatch.setattr(exchange, "LONGEST_PAGE", 0.05)
    page = await get(w)
    assert (page.status, "request.too_long" in page.body) == (503, True)


async def test_a_page_that_failed_at_an_action_does_not_ask_again(w, monkeypatch):
    async def refuse(*_):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(w.services.cursors, "read", refuse)
    page = await post(w, action="pause", who="Ada", why="FHIR moves")
    assert page.status == 503
    assert "data-refresh" not in page.body


async def test_an_address_claims_nothing_that_never_happened(w):
    for claim in ("discard", "0" * 12, HOSTILE):
        assert 'class="said"' not in (await get(w, did=claim, n="1000")).body
    answer = await post(w, action="pause", who="Ada", why="FHIR moves")
    assert "Projection is paused." in (await follow(w, answer)).body
    w.clock.advance(3600)
    assert 'class="said"' not in (await follow(w, answer)).body, "the message of the last action is shown once"


async def test_a_removed_study_has_one_word_everywhere(w):
    await w.arrive("a.dcm")
    assert 'class="badge good">synced<' in (await get(w)).body
    await w.go("a.dcm")
    for page, query in (("", {}), ("studies", {"state": "removed"}), ("study", {"uid": STUDY.study_instance_uid})):
        body = (await get(w, page, **query)).body
        assert 'class="badge plain">removed<' in body
    assert ">written<" not in (await get(w)).body


async def test_a_study_that_fails_says_with_what_since_when_and_what_to_do(w):
    await w.ingest(w.put("a.dcm"))
    await postpone(STUDY, FhirUnavailable("503"), w.services)
    body = (await get(w, "study", uid=STUDY.study_instance_uid)).body
    assert "<code>fhir.unavailable</code></strong> since" in body
    assert re.search(r"It is tried again at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.", body)
    assert "Check the health of the FHIR service" in body


async def test_a_replay_of_an_unknown_study_is_refused_and_leaves_nothing(w):
    answer = await post(w, action="replay-study", uid="2.25.9", who="Ada")
    assert answer.status == 404
    assert "study.unknown" in answer.body
    assert (await get(w, "study", uid="2.25.9")).status == 404
    assert [cursor async for cursor in w.services.cursors.all() if cursor.name.startswith("replay")] == []


async def a_letter(w, name="bad.dcm"):
    await w.ingest(w.put(name, b"no dicom at all"))
    return [letter async for letter in w.store.dead_letters.all()]


async def test_a_dead_letter_has_a_page_with_reason_history_and_what_a_retry_does(w):
    [letter] = await a_letter(w)
    page = await get(w, "letter", kind=letter.kind.value, subject=letter.subject)
    assert page.status == 200
    assert "A retry inspects the object again" in page.body
    assert "1 attempt<" in page.body
    assert "bad.dcm" not in page.body
    await post(w, action="retry", kind="object", subject=letter.subject, who="Ada")
    again = await get(w, "letter", kind=letter.kind.value, subject=letter.subject)
    assert "dead-letters.retry" in again.body
    assert (await get(w, "letter", kind="object", subject="none")).status == 404
    assert (await get(w, "letter", kind="strange", subject="none")).status == 404


async def reveal(w, letter, **more):
    fields = urlencode({"kind": letter.kind.value, "subject": letter.subject, **more}).encode()
    request = Request(headers=OUR_OWN, params={"page": "letter"}, body=fields)
    return await dashboard(request, URL, "POST", SOURCES, w.services)


async def test_names_are_shown_to_operators_who_say_who_they_are_and_recorded(w):
    [letter] = await a_letter(w)
    assert (await reveal(w, letter)).status == 400
    assert "bad.dcm" in (await reveal(w, letter, who="Ada")).body
    assert [entry.action for entry in await w.store.audit.newest(9)] == ["dead-letters.secrets"]
    reader = MemoryWorld()
    [letter] = await a_letter(reader)
    assert (await reveal(reader, letter, who="Ada")).status == 403


async def test_ticked_dead_letters_are_retried_and_discarded_together(w):
    for name in ("one", "two", "three"):
        letters = await a_letter(w, name)
    listed = await get(w, "letters", of="header.not_dicom")
    assert listed.body.count('name="subjects"') == 3
    ticked = [("action", "discard"), *(("subjects", f"object:{letter.subject}") for letter in letters[:2])]
    request = Request(headers=OUR_OWN, params={"page": "confirm"}, body=urlencode(ticked).encode())
    asked = await dashboard(request, URL, "POST", SOURCES, w.services)
    assert "This affects 2 dead letters." in asked.body
    assert len([letter async for letter in w.store.dead_letters.all()]) == 3, "asking does nothing"
    subjects = " ".join(value for name, value in ticked if name == "subjects")
    done = await follow(w, await post(w, action="discard", subjects=subjects, who="Ada", why="a test"))
    assert "Discarded: 2" in done.body
    assert (await post(w, action="retry", subjects="strange:1", who="Ada")).status == 400
    assert (await post(w, action="retry", subjects="object:1 " * 201, who="Ada")).status == 400


async def test_dead_letters_of_a_code_are_narrowed_by_kind(w):
    await a_letter(w)
    assert "object<br>" in (await get(w, "letters", of="header.not_dicom", kind="object")).body
    assert "None any more." in (await get(w, "letters", of="header.not_dicom", kind="study")).body


async def test_the_audit_trail_is_for_operators(w):
    await post(w, action="pause", who="Ada", why="FHIR moves")
    page = await get(w, "audit")
    assert "projection.pause" in page.body
    assert "FHIR moves" in page.body
    reader = MemoryWorld()
    assert (await get(reader, "audit")).status == 403
    assert ">Audit<" not in (await get(reader)).body


async def test_a_backfill_is_begun_paused_resumed_and_cancelled_by_buttons(w):
    w.put("a")
    told = await follow(w, await post(w, action="backfill", who="Ada"))
    assert "Backfills started: 1." in told.body
    for action, state in (("pause-walk", "running"), ("resume-walk", "paused"), ("cancel-walk", "running")):
        page = (await get(w, "jobs")).body
        assert re.search(rf'<span class="badge warn">{state}</span>', page)
        (walk,) = re.findall(rf"confirm\?action={action}&(?:amp;)?of=(\w+)", page)
        await follow(w, await post(w, action=action, of=walk, who="Ada"))
    page = (await get(w, "jobs")).body
    assert "cancelled" in page
    assert "pause-walk" not in page


async def test_a_comparison_of_everything_is_begun_by_a_button_and_exports_are_shown_with_it(w):
    assert "Exports" not in (await get(w, "jobs")).body
    told = await follow(w, await post(w, action="compare-all", who="Ada"))
    assert "Comparisons started: 1." in told.body
    await begin_walk(new_export("files", w.services.settings, max_bytes=1), w.services, who="Ada")
    page = (await get(w, "jobs")).body
    assert re.findall(r'data-of="What">([^<,]+)', page) == ["verify", "export files"]
    assert [entry.action for entry in await w.services.audit.newest(9)].count("verify.begin") == 1


async def test_a_walk_of_another_version_is_shown_with_what_to_do_and_cancelled(w):
    assert "Unreadable" not in (await get(w, "jobs")).body
    spoilt = Cursor(name="backfill dicom", position={"run": "0f3c9d2a7b11", "kind": "backfill", "began": "yesterday"})
    await w.services.cursors.write(spoilt, None)
    page = (await get(w, "jobs")).body
    assert "Let the version that wrote the row finish the walk, or cancel the walk" in page
    assert "is not as expected" in page
    assert re.search(r"confirm\?action=cancel-walk&(?:amp;)?of=0f3c9d2a7b11", page)
    told = await follow(w, await post(w, action="cancel-walk", of="0f3c9d2a7b11", who="Ada"))
    assert "Walks cancelled: 1." in told.body
    assert "Unreadable" not in (await get(w, "jobs")).body


async def test_jobs_tell_how_far_a_replay_is_and_how_long_it_takes_still(w):
    now, feed = w.clock.now(), MemoryBlobFeed()
    for hours in (1, 2):
        change, at = w.put(f"{hours}", sop=f"2.25.{hours}"), now - timedelta(hours=hours)
        feed.put(at, {"00": [record(f"{hours}", at, account="memory", etag=change.etag)]})
    kinds = kinds_of({"blob": Blobs(feed=feed, listing=w.store.objects, allowed=SOURCES)})
    replay = ReplayRequest(source="blob", start=now - timedelta(hours=2), end=now)
    await begin_replay(replay, w.services, who="Ada")
    await cut_walk(await read_walk(cursor_of(replay), w.services), kinds, w.services, until=math.inf)
    w.clock.advance(60)
    while "50 %" not in (page := (await get(w, "jobs")).body):
        await one_batch(cursor_of(replay), kinds, w.services)
    assert "about 60 s left" in page
    assert "synced 1" in page
    assert f"blob, {(now - timedelta(hours=2)).isoformat(' ')[:16]} to {now.isoformat(' ')[:16]}" in page
    for action in ("pause-walk", "cancel-walk"):
        assert re.search(rf"confirm\?action={action}&(?:amp;)?of={replay.id}", page)
    await follow(w, await post(w, action="cancel-walk", of=replay.id, who="Ada"))
    assert "cancelled" in (await get(w, "jobs")).body
