"""The OpenAPI document is that of the functions, and real answers are as it says."""

import json

import pytest
from jsonschema import Draft202012Validator

from sync.dead_letters import queries
from sync.events import Sources
from sync.monitoring import status, study_state
from sync.web import dead_letters, removals, replays, study_list, walks
from sync.web.exchange import Request
from tests.docs.openapi_page import ANSWERS, DOCUMENT, PAGE, document, page, routes, text
from tests.worlds import STUDY, UNREADABLE, MemoryWorld

SOURCES = Sources(account="memory", containers=frozenset({"dicom"}))


def test_document_and_page_are_those_of_the_functions():
    assert DOCUMENT.read_text("utf-8") == text(), "run .venv/bin/python -m tests.docs.openapi_page"
    assert PAGE.read_text("utf-8") == page(), "run .venv/bin/python -m tests.docs.openapi_page"


def test_every_route_and_method_is_described_once_with_an_id_of_its_own():
    described = document()["paths"]
    wanted = {(route.path.replace("?}", "}"), method.lower()) for route in routes() for method in route.methods}
    assert {(path, method) for path, methods in described.items() for method in methods} == wanted
    ids = [operation["operationId"] for methods in described.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_in_it_leads_somewhere():
    whole = document()
    names = set(whole["components"]["schemas"])
    asked = {part.split('"')[0] for part in json.dumps(whole).split('"#/components/schemas/')[1:]}
    assert asked <= names


async def answers():
    """Ask a small world each question whose answer is JSON."""
    w = MemoryWorld(operators="key")
    await w.arrive("a.dcm", PatientSex="X")
    await w.arrive("none", UNREADABLE)
    s = w.services
    [letter] = (await queries.browse(s)).letters
    one = {"kind": letter.kind.value, "subject": letter.subject}
    acting = {"headers": {"Content-Type": "application/json", "X-DICOM-Sync-Operator": "Ada"}}
    body = json.dumps({"code": letter.code, "why": "a test", "dry_run": True}).encode()
    yield "status", await status.status(s)
    yield "study", await study_state.study_state(STUDY, s)
    yield "studies", (await study_list.answer_studies(Request(), s)).body
    yield "dead_letters", (await dead_letters.list_dead_letters(Request(), s)).body
    yield "dead_letters", (await dead_letters.list_dead_letters(Request(query={"code": letter.code}), s)).body
    yield "dead_letter", (await dead_letters.show_dead_letter(Request(params=one), s)).body
    yield "retry_dead_letters", (await dead_letters.retry_selected(Request(**acting, body=body), SOURCES, s)).body
    yield "discard_dead_letters", (await dead_letters.discard_selected(Request(**acting, body=body), s)).body
    yield "removals", (await removals.show_removals(s)).body
    yield "replay_list", (await replays.list_replays(s)).body
    yield "backfill", (begun := await walks.start_backfill(Request(**acting), ["dicom"], s)).body
    paused = {"id": begun.body["walks"][0]["id"], "deed": "pause"}
    yield "change_walk", (await walks.change_walk(Request(**acting, params=paused), s)).body
    yield "walks", (await walks.show_walks(s)).body


async def test_real_answers_are_as_the_document_says():
    components = document()["components"]
    tried = set()
    async for name, body in answers():
        tried.add(name)
        schema = {**ANSWERS[name], "components": components}
        errors = [error.message for error in Draft202012Validator(schema).iter_errors(body)]
        assert errors == [], name
        if schema.get("properties"):
            assert set(body) <= set(schema["properties"]), f"{name} tells more than the document"
    assert tried == set(ANSWERS) - {"health", "decide_removals", "replay"}, "these three act or need a host"


@pytest.mark.parametrize("name", ["Status", "StudyState", "Listing"])
def test_what_is_told_has_a_schema(name):
    assert document()["components"]["schemas"][name]["properties"]
