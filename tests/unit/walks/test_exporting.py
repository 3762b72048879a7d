"""An export in slices holds what one of a single process does, and is complete only with its manifest."""

import asyncio
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from sync.cli import app, export_all
from sync.errors import StoreUnavailable
from sync.export import export, prepare
from sync.operators.walks import Deed, begin_walk, control_walk
from sync.protocol.walk_rows import WalkState, read_board, read_walk
from sync.testing.export_files import MemoryExportFiles
from sync.walks import export_manifests, exporting
from sync.walks.export_buckets import keys_of
from sync.walks.export_manifests import Manifests
from sync.walks.export_parts import Parts, Position
from sync.walks.exporting import Exporting, export_kind, fetch_manifest, folder_of, new_export
from sync.walks.key_ranges import range_of
from sync.walks.sharing import Worker, cut_walk, end_walks
from tests.walking import finished
from tests.worlds import MemoryWorld, count

PLENTY = 10**9


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(exporting, "STUDIES_A_PART", 2)
    monkeypatch.setattr(exporting, "CHUNK", 3)
    monkeypatch.setattr(exporting, "PARTS_A_BUCKET", 2)


async def world():
    w = MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")
    for number in range(9):
        await w.arrive(
            f"f/{number}", study=f"2.25.{number + 1}", sop=f"2.25.{100 + number}", PatientID=f"P{number % 3}"
        )
    return w


@pytest.fixture
async def w():
    return await world()


@pytest.fixture
def out():
    return MemoryExportFiles()


def kinds_of(w, out):
    return {export_kind(w.services.settings): Exporting(services=w.services, files=lambda _: out)}


async def begun(w, out, **more):
    asked = new_export("exports", w.services.settings, **{"max_bytes": PLENTY, **more})
    await begin_walk(asked, w.services, who="ada")
    await cut_walk(await read_walk(asked.name, w.services), kinds_of(w, out), w.services, until=math.inf)
    board = await read_board(w.services)
    return board.walks[asked.name], board


def lines(out, exported, run):
    return sorted(line for file in exported.files for line in out.files[f"export-{run}/{file.name}"].splitlines())


async def alone(w, folder):
    prepare(folder, overwrite=False)
    exported = await export(folder, PLENTY, w.services, lambda studies, fraction: None)
    return exported, sorted(line for path in folder.glob("*.ndjson") for line in path.read_bytes().splitlines())


async def test_the_parts_together_are_the_export_of_one_process(w, out, tmp_path):
    row, board = await begun(w, out)
    assert [piece.scope["part"] for piece in board.of_walk(row)][-2:] == ["merge", "close"]
    assert row.made > 4
    counts = await finished(row.name, kinds_of(w, out), w.services)
    exported = await fetch_manifest(row, out)
    expected, resources = await alone(w, tmp_path)
    assert lines(out, exported, row.run) == resources
    assert exported.resources == expected.resources == {"Endpoint": 1, "ImagingStudy": 9, "Patient": 3}
    assert {name: number for name, number in counts.items() if number} == {"studies": 9, **exported.resources}
    named = {f"export-{row.run}/{file.name}" for file in exported.files}
    assert set(out.files) == {*named, f"export-{row.run}/manifest.json"}


async def test_all_slices_are_cut_in_one_transaction_and_no_more_than_asked_for(w, out):
    asked = new_export("exports", w.services.settings, max_bytes=PLENTY)
    await begin_walk(asked, w.services, who="ada")
    cuts = count(w.store.cursors, "replace_beside")
    made = []
    for most in (3, 1, None):
        row = await read_walk(asked.name, w.services)
        await cut_walk(row, kinds_of(w, out), w.services, until=math.inf, most=most)
        made.append((await read_walk(asked.name, w.services)).made)
    board = await read_board(w.services)
    row = board.walks[asked.name]
    assert (len(cuts), made, row.planned) == (3, [3, 4, row.made], True)
    assert [piece.name for piece in board.of_walk(row)] == [row.slice_name(number) for number in range(row.made)]


async def test_until_all_is_there_there_is_no_manifest(w, out):
    row, board = await begun(w, out)
    now = w.clock.now()
    assert {piece.scope["part"] for piece in board.free_of(row, now)} == {"parts"}
    for _ in range(row.made):
        assert await fetch_manifest(row, out) is None
        board = await read_board(w.services)
        piece = board.free_of(row, now)[0]
        await Worker(kinds=kinds_of(w, out), s=w.services)._take(row, piece, board, until=math.inf)
    assert await fetch_manifest(row, out) is not None


async def test_a_part_that_is_done_again_stays_as_it_is_whatever_changed_meanwhile(w, out):
    row, board = await begun(w, out)
    kind = next(iter(kinds_of(w, out).values()))
    for piece in board.of_walk(row):
        first = [batch async for batch in kind.batches(row, piece, (), w.services)]
        before = dict(out.files)
        if piece.scope["part"] != "close":
            w.edit("Patient", "another", gender="other")
            again = [batch async for batch in kind.batches(row, piece, (), w.services)]
            assert again == first
            assert out.files == before
    exported = await fetch_manifest(row, out)
    assert exported.resources["ImagingStudy"] == 9


async def written_parts(w, out):
    """Begin an export and write its parts; return its row, the slices of parts, and all others."""
    row, board = await begun(w, out)
    kind = next(iter(kinds_of(w, out).values()))
    parts = [piece for piece in board.of_walk(row) if piece.scope["part"] == "parts"]
    for piece in parts:
        assert [batch async for batch in kind.batches(row, piece, (), w.services)]
    return row, parts, [piece for piece in board.of_walk(row) if piece not in parts]


async def test_merges_wait_for_all_parts_and_for_no_other_merge_and_the_end_for_them(w, out):
    row, parts, [*merges, end] = await written_parts(w, out)
    assert len(merges) == math.ceil(len(parts) / 2) > 1
    slices = [*parts, *merges, end]
    for number in range(len(slices)):
        done = [replace(piece, done=place < number) for place, piece in enumerate(slices)]
        free = replace(await read_board(w.services), slices={row.run: done}).free_of(row, w.clock.now())
        kinds = {piece.scope["part"] for piece in free}
        assert kinds == {"parts" if number < len(parts) else "merge" if number < len(slices) - 1 else "close"}
        assert kinds != {"merge"} or len(free) == len(slices) - 1 - number


@pytest.mark.parametrize("garble", [lambda content: content[:1], lambda content: content.swapcase()])
async def test_a_merge_believes_no_file_that_is_not_as_it_was_written(w, out, garble):
    row, _, [*merges, _end] = await written_parts(w, out)
    kind = next(iter(kinds_of(w, out).values()))
    out.files = {name: garble(content) if "/shared-" in name else content for name, content in out.files.items()}

    async def merged(piece):
        try:
            assert [batch async for batch in kind.batches(row, piece, (), w.services)]
        except StoreUnavailable as refused:
            return refused.code
        return json.loads(out.files[f"export-{row.run}/merged-{piece.scope['bucket']:06d}.json"])["resources"]

    outcomes = [await merged(piece) for piece in merges]
    assert "store.garbled" in outcomes
    assert all(outcome in ("store.garbled", {}) for outcome in outcomes)


async def test_of_two_that_write_one_part_the_first_decides(w, out):
    row, board = await begun(w, out)
    kind = next(iter(kinds_of(w, out).values()))
    piece = board.of_walk(row)[1]
    [first] = [batch async for batch in kind.batches(row, piece, (), w.services)]
    name = f"export-{row.run}/part-000001.json"
    manifest = out.files[name]
    manifests = Manifests(folder=folder_of(row), out=out, kept={})
    work = exporting._Work(row=row, at=Position(), max_bytes=10**6, s=w.services, out=out, manifests=manifests)
    other = Parts(begin=1, end=2, of=1, buckets=piece.scope["buckets"])
    assert (await work._write_part(1, other)).studies == first.counts["studies"] < 9
    assert out.files[name] == manifest


async def test_files_keep_to_their_size(w, out):
    row, _ = await begun(w, out, max_bytes=1)
    await finished(row.name, kinds_of(w, out), w.services)
    exported = await fetch_manifest(row, out)
    assert {file.count for file in exported.files} == {1}
    assert len(exported.files) == 13


async def test_a_cancelled_export_is_never_complete_and_the_next_has_its_own_folder(w, out):
    row, _ = await begun(w, out)
    await control_walk(row.name, Deed.CANCEL, w.services, who="ada")
    again, _ = await begun(w, out)
    await finished(again.name, kinds_of(w, out), w.services)
    assert again.run != row.run
    assert await fetch_manifest(row, out) is None
    assert await fetch_manifest(again, out) is not None


async def test_an_empty_ledger_gives_an_empty_export(out):
    w = MemoryWorld()
    row, _ = await begun(w, out)
    await finished(row.name, kinds_of(w, out), w.services)
    assert (await fetch_manifest(row, out)).files == ()


async def test_two_workers_share_it_and_one_that_stops_costs_nothing(w, out):
    row, _ = await begun(w, out)
    workers = [Worker(kinds=kinds_of(w, out), s=w.process()) for _ in range(2)]
    await asyncio.gather(workers[0].work(until=0), workers[1].work(until=math.inf))
    while (await read_walk(row.name, w.services)).state is WalkState.RUNNING:
        await workers[1].work(until=math.inf)
        await end_walks(w.services)
    exported = await fetch_manifest(row, out)
    assert exported.resources == {"Endpoint": 1, "ImagingStudy": 9, "Patient": 3}


@pytest.fixture
def typed(monkeypatch, out):
    w = asyncio.run(world())
    running = SimpleNamespace(services=w.services, kinds=kinds_of(w, out), export_files=lambda _: out)
    monkeypatch.setattr(export_all, "with_services", lambda work, **_: asyncio.run(work(running)))
    return lambda *words: CliRunner().invoke(app, ["export", *words])


def test_the_command_exports_into_a_container_alone_too(typed):
    told = typed("--container", "exports", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["resources"] == {"Endpoint": 1, "ImagingStudy": 9, "Patient": 3}
    assert "complete  container exports, folder export-" in told.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--container", "exports", "folder"),
        ("--container", "No"),
        ("--container", "dicom"),
        ("--container", "a--b"),
    ],
)
def test_a_wrong_destination_is_refused(typed, words):
    assert typed(*words).exit_code == 2


async def test_a_share_of_the_studies_is_told(w, out):
    row, board = await begun(w, out)
    piece = board.of_walk(row)[0]
    assert replace(piece, counts={"studies": 1}).units_done(row.unit) == min(1.0, piece.size)


@pytest.mark.parametrize("buckets", [1, 2, 3, 7, 24, 64])
def test_each_key_is_in_the_bucket_whose_range_it_is_in(buckets):
    edges = [end for number in range(buckets) for end in keys_of(number, buckets) if end]
    keys = [f"{edge}{'0' * 32}" for edge in edges if edge != "g"]
    keys += [f"{int(edge, 16) - 1:08x}{'f' * 32}" for edge in edges if edge != "g"] + ["0" * 40, "f" * 40]
    for key in keys:
        first, before = keys_of(range_of(key, buckets), buckets)
        assert first <= key < before


async def test_a_merge_reads_the_manifests_of_other_processes_once_and_those_of_its_own_never(w, out):
    row, parts, [*merges, _end] = await written_parts(w, out)
    fetches = count(out, "fetch")
    own, other = (next(iter(kinds_of(w, out).values())) for _ in range(2))
    for piece in parts[:1]:
        assert [batch async for batch in own.batches(row, piece, (), w.services)]
    for kind in (own, other):
        fetches.clear()
        for piece in merges:
            name = f"export-{row.run}/merged-{piece.scope['bucket']:06d}.json"
            out.files.pop(name, None)
            assert [batch async for batch in kind.batches(row, piece, (), w.services)]
        asked = [name for name, _ in fetches if "/part-" in name]
        assert len(asked) == len(set(asked)) == len(parts) - (kind is own)


async def test_a_process_keeps_only_so_many_manifests(w, out, monkeypatch):
    monkeypatch.setattr(export_manifests, "MOST_KEPT", 2)
    row, _ = await begun(w, out)
    kinds = kinds_of(w, out)
    await finished(row.name, kinds, w.services)
    assert (await fetch_manifest(row, out)).resources["ImagingStudy"] == 9
    assert len(next(iter(kinds.values())).kept) <= 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": "dicom-fhir-sync export 1"}'])
async def test_the_end_believes_no_manifest_that_is_not_as_it_was_written(w, out, content):
    row, _, [*merges, end] = await written_parts(w, out)
    own, other = (next(iter(kinds_of(w, out).values())) for _ in range(2))
    for piece in merges:
        assert [batch async for batch in own.batches(row, piece, (), w.services)]
    out.files[f"export-{row.run}/part-000001.json"] = content
    with pytest.raises(StoreUnavailable, match="as it was written") as refused:
        assert [batch async for batch in other.batches(row, end, (), w.services)]
    assert refused.value.code == "store.garbled"
    assert await fetch_manifest(row, out) is None
