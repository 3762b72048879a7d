"""
Copies of the adapters with one rule taken out, and the lies that are believed then.

Where two rules stand behind each other, both are taken out. Some stand behind others in every lie that is played here,
and are left to the unit tests of the adapters: `is_gone` (a read that is believed is followed by a search that is not),
and the page in an object's place (what it lacks makes the library fail, which is an outage too).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.simulation.gateway.world import Adapters
from tests.simulation.mutants import without_rule

CHAIN = (
    "sync.adapters.retry_after",
    "sync.adapters.http.retrying",
    "sync.adapters.http.remote",
    "sync.adapters.http.fhir.outcomes",
    "sync.adapters.http.fhir.answers",
    "sync.adapters.http.fhir.references",
    "sync.adapters.http.fhir.remote",
    "sync.adapters.http.fhir.searches",
    "sync.adapters.http.fhir.server",
    "sync.adapters.azure.transport",
    "sync.adapters.azure.errors",
    "sync.adapters.azure.blob_feed",
    "sync.adapters.azure.blobs",
)
"""Modules that import one another in this order."""


@dataclass(frozen=True)
class AdapterMutant:
    """One rule of the adapters, the edits that remove it, and the lies by which that shows."""

    rule: str
    edits: Mapping[str, Sequence[tuple[str, str]]]
    """Old and new text, by module below ``sync.adapters``."""
    lies: Sequence[tuple[str, str]]

    def load(self) -> Adapters:
        """Return the adapters without the rule; the real modules stay as they are."""
        edits = {f"sync.adapters.{name}": edit for name, edit in self.edits.items()}
        modules = without_rule(CHAIN, edits, rule=self.rule)
        return Adapters(
            blobs=modules["sync.adapters.azure.blobs"],
            transport=modules["sync.adapters.azure.transport"],
            fhir=modules["sync.adapters.http.fhir.server"],
        )


_ANY_STORAGE = (
    "        if not response.headers.get(REQUEST_ID) or not _is_of_range(request, response):\n",
    "        if False:\n",
)

MUTANTS = [
    AdapterMutant(
        "an object is gone only if the store itself says so",
        {
            "azure.transport": [_ANY_STORAGE],
            "azure.errors": [
                (
                    "    status = _status(problem)\n    if status in _NOT_WITHOUT_CODE:\n",
                    "    status = _status(problem)\n    if status == 404:\n        raise SourceGone\n    if False:\n",
                )
            ],
        },
        [("blobs", "404 page"), ("blobs", "404 bare")],
    ),
    AdapterMutant(
        "fewer bytes than the store announced are none",
        {"azure.errors": [("    if received != expected:\n", "    if False:\n")]},
        [("blobs", "scanned")],
    ),
    AdapterMutant(
        "a refusal that is not the FHIR service's own parks nothing",
        {"http.fhir.answers": [("isinstance(response, httpx.Response) and not is_own(response)", "False")]},
        [("fhir", "404 page"), ("fhir", "413 page")],
    ),
    AdapterMutant(
        "a service that asks for a long pause is not waited for",
        {"http.retrying": [("wait is None or wait <= LONGEST_SHORT_WAIT", "True")]},
        [("fhir", "429")],
    ),
    AdapterMutant(
        "an answer to fewer requests than were sent is none",
        {"http.fhir.answers": [("if expected is not None and len(entries) != expected:", "if False:")]},
        [("fhir", "half")],
    ),
    AdapterMutant(
        "an answer that is no JSON object is none",
        {"http.fhir.answers": [("    except (ValueError, RecursionError):\n", "    except RecursionError:\n")]},
        [("fhir", "200 page"), ("fhir", "short")],
    ),
    AdapterMutant(
        "an empty page with a link is not the end of a search",
        {
            "http.fhir.server": [
                (
                    "            if link is None:\n                break\n            passed = followed(passed, link)",
                    "            if True:\n                break\n            passed = followed(passed, link)",
                )
            ]
        },
        [("fhir", "empty with next")],
    ),
    AdapterMutant(
        "a Bundle of another type answers another request",
        {
            "http.fhir.answers": [
                ('    if (body.get("resourceType"), body.get("type")) != ("Bundle", kind):\n', "    if False:\n"),
            ]
        },
        [("fhir", "another type")],
    ),
]
