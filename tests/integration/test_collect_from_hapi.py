"""A cohort over a live HAPI server is the one over files; what changed and what was deleted there is found."""

import asyncio
import json

import httpx

from insights.cohort.run import Wanted, run
from insights.collect import Store, build
from insights.fetch.fetching import fetch, forget
from insights.fetch.service import connected
from tests.insights.collected import catalogue, tables, write
from tests.insights.collected import collect as collect_files
from tests.insights.test_cohort import DEFINITION, diagnosis, patient, report, study

MARK = "insights-hapi"


def world():
    for number in range(15):
        name = f"{MARK}-{number}"
        yield patient(name, f"19{40 + number}-03-01")
        yield diagnosis(name, "2026-01-15" if number % 5 else "2020-01-15")
        yield study(name, f"{number}0")
        yield report(name, f"{number}0", imagingStudy=[{"reference": f"ImagingStudy/s-{name}-{number}0"}])


def put(url, *resources):
    entries = [
        {"resource": resource, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}}
        for resource in resources
    ]
    answer = httpx.post(url, json={"resourceType": "Bundle", "type": "transaction", "entry": entries}, timeout=60)
    answer.raise_for_status()


def collect(url, folder, **options):
    store = Store(folder)
    store.prepare()

    async def download():
        async with connected(url) as service:
            return await fetch(service, store.incoming, catalogue().by_resource, **options)

    fetched = asyncio.run(download())
    since = options.get("since")
    built = build(store, fetched.data, catalogue(), source=url, refresh=since is not None, deletions=fetched.deletions)
    forget(store.incoming)
    return fetched, built


def ours(folder):
    """Rows about the patients of this test: others may be at work on the same server."""
    marked = {}
    for name, rows in tables(folder).items():
        marked[name] = [row for row in rows if name != "_resource" and MARK in json.dumps(row, default=str)]
    return marked


def test_live_and_from_files(hapi, tmp_path):
    resources = [json.loads(json.dumps(resource)) for resource in world()]
    for resource in resources:
        resource.pop("meta", None)
    put(hapi, *resources)
    fetched, built = collect(hapi, tmp_path / "live")
    collect_files(tmp_path / "files", write(tmp_path / "in", *resources))
    assert ours(tmp_path / "live") == ours(tmp_path / "files")
    assert built.known.data_time

    (tmp_path / "cohort.yaml").write_text(DEFINITION, "utf-8")
    funnels = []
    for name in ("live", "files"):
        data = tmp_path / name
        if name == "files":  # files without times say no day of the data; the definition does
            assert Store(data).collected().data_time is None
        _, answer = run(tmp_path / "cohort.yaml", data, Wanted(tmp_path / f"out-{name}", minimum=1))
        funnels.append(answer.funnel[-1].counted.people)
    assert funnels[0] == funnels[1] == 12

    removed = [f"Condition/{resource['id']}" for resource in resources if resource["resourceType"] == "Condition"][1]
    httpx.delete(f"{hapi}/{removed}", timeout=60).raise_for_status()
    changed = patient(f"{MARK}-2", "2000-03-01", gender="female")
    changed.pop("meta")
    put(hapi, changed)
    store = Store(tmp_path / "live")
    refreshed, again = collect(hapi, tmp_path / "live", since=store.collected().data_time, known=store.ids())
    left = [
        resource
        for resource in resources
        if f"{resource['resourceType']}/{resource['id']}" not in (removed, f"Patient/{MARK}-2")
    ]
    collect_files(tmp_path / "left", write(tmp_path / "in2", *left, changed))
    assert ours(tmp_path / "live") == ours(tmp_path / "left")
    assert refreshed.deletions == again.known.deletions == "listing"  # HAPI does not say what is gone
    assert fetched.mode == refreshed.mode
