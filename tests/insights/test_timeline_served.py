"""The timeline in the function app: who sees whom, an AuditEvent first, and nothing of it when it is off."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from insights.timeline import served
from sync.config import Settings

ROOT = Path(__file__).parents[2]
ADA = "ada@example.org"


def principal(*roles, name=ADA):
    claims = [{"typ": "preferred_username", "val": name}, *({"typ": "roles", "val": role} for role in roles)]
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps({"claims": claims}).encode()).decode()}


OUTCOME = {"resourceType": "OperationOutcome", "issue": []}


class Fhir:
    """A FHIR service with one patient, one study and a reader; it keeps what is written."""

    def __init__(self, *, reader="d1", audit=201, identifier=ADA):
        self.reader, self.audit, self.identifier = reader, audit, identifier
        self.written = []

    def __call__(self, request):
        kind, _, identity = request.url.path.removeprefix("/r4/").partition("/")
        if request.method == "PUT":
            self.written.append(json.loads(request.content))
            return httpx.Response(self.audit, json=OUTCOME)
        if kind == "Patient" and identity:
            resource = {"resourceType": "Patient", "id": "p"}
            return httpx.Response(200, json=resource) if identity == "p" else httpx.Response(404, json=OUTCOME)
        entries = {
            "Practitioner": {"id": "d1", "identifier": [{"value": self.identifier}]},
            "ImagingStudy": {"id": "s", "started": "2026-01-01", "description": "SEEN",
                             "subject": {"reference": "Patient/p"},
                             "interpreter": [{"reference": f"Practitioner/{self.reader}"}]},
        }  # fmt: skip
        resource = [{"resource": {"resourceType": kind, **entries.get(kind, {})}, "search": {"mode": "match"}}] * (
            kind in entries
        )
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": resource})


@pytest.fixture
def ask(monkeypatch):
    connected = served.connected

    async def quick(_):
        return None

    async def ask(fhir, headers, patient="p", *, on=True, sign_in="True"):
        transport = httpx.MockTransport(fhir)
        monkeypatch.setattr(served, "connected", lambda url: connected(url, transport=transport, sleep=quick))
        settings = Settings.load(
            fhir_url="https://fhir.example/r4",
            storage="AccountName=x;AccountKey=c291bmQ=",
            timeline=on,
            sign_in=sign_in,
        )
        return await served.serve(headers, patient, settings)

    return ask


@pytest.mark.parametrize("role", ["timeline", "timeline-all"])
async def test_who_may_see_a_patient_does_and_it_is_recorded_first(ask, role):
    fhir = Fhir()
    answer = await ask(fhir, principal(role))
    assert answer.status == 200
    assert "SEEN" in answer.body
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    (event,) = fhir.written
    assert (event["outcome"], event["agent"][0]["name"]) == ("0", ADA)
    assert event["entity"] == [{"what": {"reference": "Patient/p"}}]


@pytest.mark.parametrize("fhir", [Fhir(reader="d2"), Fhir(identifier="ada@example.com")])
async def test_to_others_a_patient_is_as_if_it_were_not_there(ask, fhir):
    refused, absent = await ask(fhir, principal("timeline")), await ask(Fhir(), principal("timeline"), "nowhere")
    assert (refused.status, refused.body) == (absent.status, absent.body)
    assert refused.status == 404
    assert "SEEN" not in refused.body
    assert [event["outcome"] for event in fhir.written] == ["4"]


@pytest.mark.parametrize(("name", "status"), [("患者@example.org", 200), ("番号@example.org", 404)])
async def test_only_who_carries_the_name_itself_is_a_reader_on_whatever_page_it_is_found(ask, name, status):
    """Azure's index has ``?`` for both names."""
    fhir, pages = Fhir(identifier="患者@example.org"), []

    def answer(request):
        if "/Practitioner" not in request.url.path or "page=2" in str(request.url):
            return fhir(request)
        pages.append(request.url.params["identifier"])
        others = [
            {"resourceType": "Practitioner", "id": f"o{n}", "identifier": [{"value": "医師@example.org"}]}
            for n in range(9)
        ]
        link = [{"relation": "next", "url": "https://fhir.example/r4/Practitioner?page=2"}]
        entry = [{"resource": other, "search": {"mode": "match"}} for other in others]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entry, "link": link})

    assert (await ask(answer, principal("timeline", name=name))).status == status
    assert pages == [name]


async def test_a_refusal_may_be_read_on_a_phone_and_in_the_dark(ask):
    answer = await ask(Fhir(), {})
    (style,) = re.findall("<style>(.*?)</style>", answer.body)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert "color-scheme:light dark" in style
    assert '<meta name="viewport"' in answer.body


async def test_a_search_for_the_reader_that_is_refused_shows_nothing(ask):
    def answer(request):
        return httpx.Response(403, json={}) if "/Practitioner" in request.url.path else Fhir()(request)

    answered = await ask(answer, principal("timeline"))
    assert (answered.status, "SEEN" in answered.body) == (503, False)


@pytest.mark.parametrize(
    ("headers", "more", "status"),
    [
        ({}, {}, 403),
        (principal(), {}, 403),
        (principal("operator", "reader"), {}, 403),
        (principal("timeline-all", name=""), {}, 403),
        ({"X-MS-CLIENT-PRINCIPAL": "nonsense"}, {}, 403),
        (principal("timeline-all"), {"sign_in": ""}, 403),
        (principal("timeline-all"), {"on": False}, 404),
    ],
)
async def test_without_sign_in_role_or_switch_nothing_is_asked(ask, headers, more, status):
    asked = []

    def fhir(request):
        asked.append(request)
        return httpx.Response(500)

    assert (await ask(fhir, headers, **more)).status == status
    assert asked == []


@pytest.mark.parametrize("audit", [400, 403, 503])
async def test_what_cannot_be_recorded_is_not_shown(ask, audit):
    answer = await ask(Fhir(audit=audit), principal("timeline-all"))
    assert answer.status == 503
    assert "SEEN" not in answer.body


def test_the_function_app_loads_nothing_of_insights_at_start():
    code = (
        "import sys, function_app, sync.bootstrap; print([name for name in sys.modules if name.startswith('insights')])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("page", [{"html": "<html>Sign in</html>"}, {"content": b""}], ids=["page", "empty"])
async def test_without_a_record_by_the_service_itself_nothing_is_shown(ask, page):
    """A gateway answered the AuditEvent with its own page and status 200."""
    fhir = Fhir()

    def answer(request):
        return httpx.Response(200, **page) if request.method == "PUT" else fhir(request)

    refused = await ask(answer, principal("timeline-all"))
    assert refused.status == 503
    assert "SEEN" not in refused.body
