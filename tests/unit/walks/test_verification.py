"""A comparison in slices: what they cover and count, how the command takes part, and that a pause holds."""

import asyncio
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sync.cli import app, verify_all
from sync.errors import FhirRejected, UnreadableRow
from sync.mapping.resource import study_id
from sync.model import DriftKind, Projection, StudyRef, units_of
from sync.operators.pause import pause_projection
from sync.operators.walks import Deed, as_json, begin_walk, control_walk, title_of
from sync.protocol.walk_rows import Board, Slice, WalkState, read_board, read_walk
from sync.testing.fhir import MemoryFhirServer
from sync.verify.checking import Checker
from sync.verify.full_scan import Plan
from sync.walks import key_ranges, verification
from sync.walks.key_ranges import kind_for
from sync.walks.pacing import Pace
from sync.walks.sharing import Worker, cut_walk, end_walks
from sync.walks.verification import KIND, Verification, new_verification, outcome_of
from sync.walks.verification_parts import POSITION, Stand, cut_keys
from tests.walking import finished, list_walks, verified
from tests.worlds import STUDY, MemoryWorld, ehr_study

EVERYTHING = Plan()


class Heard:
    def __init__(self):
        self.found_, self.lost = [], []

    def report(self, drift, *, repaired):
        self.found_.append((drift.kind, drift.resource, repaired))

    def progress(self, phase, completed, fraction):
        pass


async def no_pause(seconds):
    pass


CHECKER = Checker(sleep=no_pause)


@pytest.fixture
async def w():
    world = MemoryWorld()
    for number in range(8):
        await world.arrive(f"f/{number}", study=f"2.25.{number + 1}", sop=f"2.25.{100 + number}", PatientID="P1")
    return world


def kind_of(w, **more):
    return Verification(listing=w.store.objects, services=w.services, checker=CHECKER, **more)


def kinds_of(w, **more):
    return {kind_for(KIND, w.services.settings): kind_of(w, **more)}


async def cut(w, plan=EVERYTHING):
    asked = new_verification(plan, w.services.settings)
    await begin_walk(asked, w.services, who="ada")
    await cut_walk(await read_walk(asked.name, w.services), kinds_of(w), w.services, until=math.inf)
    board = await read_board(w.services)
    return board.walks[asked.name], board


def parts(board, row):
    return [(piece.scope["part"], piece.scope.get("what")) for piece in board.of_walk(row)]


async def test_a_comparison_lists_containers_before_studies_and_ends_after_all(w):
    row, board = await cut(w)
    assert parts(board, row) == [
        ("objects", None),
        ("studies", None),
        ("list", "ImagingStudy"),
        ("list", "Patient"),
        ("close", None),
    ]
    assert [piece.scope["part"] for piece in board.free_of(row, w.clock.now())] == [
        "objects",
        "list",
        "list",
    ]
    assert [piece.needs for piece in board.of_walk(row)] == [0, 1, 0, 0, 4]
    assert (row.planned, row.unit, row.size) == (True, "checks", 8 + 800 + 80 + 80)


async def test_a_repair_goes_in_order(w):
    row, board = await cut(w, Plan(repair=True))
    assert parts(board, row)[2:] == [
        ("remove", "doubles"),
        ("list", "ImagingStudy"),
        ("remove", "ImagingStudy"),
        ("list", "Patient"),
        ("remove", "Patient"),
        ("close", None),
    ]
    assert [piece.needs for piece in board.of_walk(row)] == list(range(8))
    assert title_of(row) == "verify with repair"


async def test_where_a_slice_is_missing_on_the_board_what_comes_behind_it_waits(w):
    row, board = await cut(w)
    done = [replace(piece, done=True) for piece in board.of_walk(row)[:-1]]
    end = board.of_walk(row)[-1]
    free = Board(walks={}, slices={row.run: [*done, end]}).free_of(row, w.clock.now())
    assert free == [end]
    assert Board(walks={}, slices={row.run: [*done[1:], end]}).free_of(row, w.clock.now()) == []


async def test_two_workers_each_do_a_part_and_the_report_is_that_of_one(w, monkeypatch):
    monkeypatch.setattr(verification, "STUDIES_A_SLICE", 2)
    w.erase("ImagingStudy", study_id(STUDY.__class__(study_instance_uid="2.25.3")))
    w.edit("Patient", next(iter(w.server.resources("Patient")))["id"], gender="other")
    alone = await verified(w, Plan(), Heard(), CHECKER)
    row, _ = await cut(w)
    heard = [Heard(), Heard()]
    workers = [Worker(kinds=kinds_of(w, audience=audience), s=w.process()) for audience in heard]
    await asyncio.gather(*(worker.work(until=math.inf) for worker in workers))
    while (await read_walk(row.name, w.services)).state is WalkState.RUNNING:
        await workers[0].work(until=math.inf)
        await end_walks(w.services)
    told = await read_walk(row.name, w.services)
    assert outcome_of(told.counts) == alone
    assert alone.found == {DriftKind.MISSING: 1, DriftKind.FOREIGN_MODIFIED: 1}
    assert (told.counts["studies"], told.counts["objects"]) == (8, 8)


async def test_paused_and_resumed_a_comparison_goes_on_and_cancelled_it_leaves_no_slice(w):
    row, _ = await cut(w)
    worker = Worker(kinds=kinds_of(w), s=w.services)
    await control_walk(row.name, Deed.PAUSE, w.services, who="ada")
    assert await worker.work(until=math.inf) is False
    [told] = await list_walks(w.services)
    assert (told.slices_done, told.share) == (0, 0.0)
    await control_walk(row.name, Deed.RESUME, w.services, who="ada")
    assert (await finished(row.name, kinds_of(w), w.services))["studies"] == 8
    row, _ = await cut(w)
    await control_walk(row.name, Deed.CANCEL, w.services, who="ada")
    assert (await read_board(w.services)).slices == {}


async def test_while_projection_is_paused_nothing_is_repaired_or_removed(w):
    w.create({**w.imaging_study(StudyRef(study_instance_uid="2.25.1")), "id": "copy"})
    w.create(ehr_study(study_id(StudyRef(study_instance_uid="2.25.99")), StudyRef(study_instance_uid="2.25.99")))
    asked = new_verification(Plan(repair=True), w.services.settings)
    await begin_walk(asked, w.services, who="ada")
    await pause_projection(w.services, who="ada", why="FHIR moves")
    outcome = outcome_of(await finished(asked.name, kinds_of(w), w.services))
    assert outcome.found == {DriftKind.DOUBLED: 1, DriftKind.ORPHANED: 1}
    assert w.server.peek("ImagingStudy", "copy") is not None


async def test_studies_are_compared_no_faster_than_the_rate(w, monkeypatch):
    turns = []

    async def turn(self):
        turns.append(self.rate)

    monkeypatch.setattr(Pace, "turn", turn)
    asked = new_verification(Plan(), w.services.settings, rate=4.0)
    await begin_walk(asked, w.services, who="ada")
    await finished(asked.name, kinds_of(w), w.services)
    assert turns == [4.0] * (8 + 2)  # eight studies, and two pages of FHIR's lists


@pytest.mark.parametrize(("rate", "batches"), [(0.05, 8), (0.4, 2), (9.0, 1), (float("inf"), 1)])
async def test_at_a_low_rate_a_batch_is_small_so_that_it_ends_in_a_turn(w, rate, batches):
    row, board = await cut(w)
    [piece] = [piece for piece in board.of_walk(row) if piece.scope["part"] == "studies"]
    batches_made = [batch async for batch in kind_of(w).batches(replace(row, rate=rate), piece, (), w.services)]
    assert (len(batches_made), sum(batch.counts["studies"] for batch in batches_made)) == (batches, 8)


async def test_a_link_that_has_expired_begins_the_list_again(w):
    row, board = await cut(w)
    [piece] = [piece for piece in board.of_walk(row) if piece.scope.get("what") == "Patient"]
    page = w.fhir.page

    async def expired(resource_type, link=None, **more):
        if link == "expired":
            raise FhirRejected("no such page")
        return await page(resource_type, link, **more)

    w.services.fhir.page = expired
    batches = kind_of(w).batches(row, replace(piece, at={"link": "expired"}), (), w.services)
    assert [dict(batch.counts) async for batch in batches] == [{"resources": 1}]


@given(total=st.integers(0, 200_000), keys=st.lists(st.text("0123456789abcdef", min_size=40, max_size=40), max_size=50))
def test_each_study_is_in_exactly_one_range_of_keys(total, keys):
    ranges = min(max(math.ceil(total / verification.STUDIES_A_SLICE), 1), verification.MOST_RANGES)
    steps = list(cut_keys(Stand(ranges=ranges, studies=total)))
    assert steps[-1].stand.range == ranges
    for key in [*keys, "0" * 40, "f" * 40]:
        parts = [step.part for step in steps]
        holding = [part for part in parts if key > part.begin and (not part.end or key <= part.end)]
        assert len(holding) == 1


async def test_the_number_of_studies_is_told_from_the_first_keys(monkeypatch):
    monkeypatch.setattr(key_ranges, "FIRST", 50)
    w = MemoryWorld()
    for number in range(1000):
        study = StudyRef(study_instance_uid=f"2.25.{number}")
        w.store.projections.table.upsert(study.key, Projection(study=study, fhir_id=study_id(study), instances=1))
    stand = await kind_of(w)._with_ranges(Stand())
    assert 500 < stand.studies < 2000
    assert stand.ranges == math.ceil(stand.studies / verification.STUDIES_A_SLICE)


def test_a_study_is_worth_a_hundred_objects_of_a_list():
    assert units_of({"objects": 50, "studies": 2, "resources": 3, "busy": 9}, "checks") == 50 + 200 + 30
    piece = Slice(name="", walk="", run="", scope={}, size=100, following={}, counts={"studies": 7})
    assert (piece.units_done("checks"), piece.units_done("hours")) == (100.0, 0.0)


@pytest.fixture
def typed(monkeypatch):
    w = MemoryWorld()
    asyncio.run(w.arrive("a"))
    w.erase("ImagingStudy", study_id(STUDY))
    running = SimpleNamespace(services=w.services, listing=w.store.objects, kinds={})
    monkeypatch.setattr(verify_all, "with_services", lambda work, **_: asyncio.run(work(running)))
    monkeypatch.setattr("sync.verify.checking.PAUSE", 0)
    monkeypatch.setattr(verify_all, "Verification", lambda **more: Verification(**more, checker=CHECKER))

    def run(*words):
        return w, CliRunner().invoke(app, ["verify", *words])

    return run


def lines(told):
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_the_command_alone_compares_everything(typed):
    w, told = typed("--json")
    assert told.exit_code == 1
    drift, summary = lines(told)
    assert (drift["kind"], drift["state"], summary["left"], summary["studies"]) == ("drift.missing", "found", 1, 1)
    [entry] = asyncio.run(w.services.audit.newest(9))
    assert (entry.action, entry.subject) == ("verify.begin", "everything")
    w, told = typed("--repair", "--json")
    assert (told.exit_code, lines(told)[-1]["repaired"]) == (0, {"drift.missing": 1})
    [entry] = [entry for entry in asyncio.run(w.services.audit.newest(9)) if entry.action == "verify.repair"]
    assert (entry.subject, entry.why) == ("everything", "at most 10 orphans deleted")
    assert typed("--json")[1].exit_code == 0


def test_the_command_tells_what_other_workers_have_found(typed, monkeypatch):
    monkeypatch.setattr(verify_all, "Verification", lambda audience, **more: Verification(**more, checker=CHECKER))
    _, told = typed("--json")
    assert [line["event"] for line in lines(told)] == ["drift", "summary"]


def test_a_paused_comparison_ends_the_command_with_3(typed, monkeypatch):
    async def share(name, kinds, s, *args, **more):
        await control_walk(name, Deed.PAUSE, s, who="eve")
        board = await read_board(s)
        return board.progress(board.walks[name], s.clock.now()), 0.0

    monkeypatch.setattr(verify_all, "share_walk", share)
    _, told = typed()
    assert (told.exit_code, "python -m sync walks resume" in told.stderr) == (3, True)
    monkeypatch.undo()


@pytest.mark.parametrize("changed", [{"patient_policy": "update"}, {"containers": ("dicom", "added")}])
async def test_who_compares_with_other_settings_shares_no_walk(w, changed):
    row, _ = await cut(w)
    others = w.process(**changed)
    worker = Worker(kinds={kind_for(KIND, others.settings): kind_of(w)}, s=others)
    assert await worker.work(until=math.inf) is False
    [told] = await list_walks(w.services)
    assert (told.slices_done, as_json(told)["kind"]) == (0, "verify")
    assert new_verification(Plan(), others.settings).name != row.name


def test_the_order_in_which_containers_are_set_makes_no_difference(w):
    one, other = (w.process(containers=given).settings for given in (("dicom", "added"), ("added", "dicom")))
    assert new_verification(Plan(), one).name == new_verification(Plan(), other).name


async def test_a_kept_resource_counts_as_kept():
    w = MemoryWorld(MemoryFhirServer(checks_references=True))
    await w.arrive("a")
    patient = next(iter(w.server.resources("Patient")))["id"]
    reference = {"reference": f"Patient/{patient}"}
    w.create({"resourceType": "DiagnosticReport", "id": "r", "subject": reference})
    await w.go("a")
    outcome = await verified(w, Plan(repair=True), Heard(), CHECKER)
    assert (outcome.kept, outcome.left, outcome.repaired.total()) == (1, 0, 0)


@pytest.mark.parametrize("total", ["no number", "", None, [1]])
def test_a_position_with_sums_of_another_shape_is_refused(total):
    right = {"since": "2026-03-04T05:06:00+00:00", "sums": {"0123456789ab": total}}
    with pytest.raises(UnreadableRow, match="row verify 00001: right "):
        POSITION.read({"right": right}, row="verify 00001")
