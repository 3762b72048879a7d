"""
ECL expressions, expanded by a terminology server into the lock file of a definition.

Source: FHIR R4 ValueSet/$expand with the implicit value sets of SNOMED CT (http://snomed.info/sct?fhir_vs=ecl/…).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from insights.cohort.codes import SNOMED_CT, lock_file
from insights.cohort.definition import CodeExpression, Definition
from insights.cohort.located import Located
from insights.cohort.results import write_json
from insights.errors import Unavailable
from sync.adapters.http.no_answer import words_of

MOST_CODES = 50_000
_PAGE = 1000


def expand(
    definition: Definition, located: Located, server: str, *, transport: httpx.BaseTransport | None = None
) -> dict[str, int]:
    """
    Write the lock file of a definition, and return how many codes each expression has.

    Raises
    ------
    CohortError
        ``cohort.terminology``: the server refuses an expression; ``cohort.empty_codes``: it has no codes.
    Unavailable
        ``cohort.terminology_unavailable``.
    """
    expansions: dict[str, list[str]] = {}
    with httpx.Client(timeout=60, transport=transport, headers={"Accept": "application/fhir+json"}) as client:
        for name, entries in definition.codes.items():
            for number, entry in enumerate(entries):
                if isinstance(entry, CodeExpression):
                    path = ("codes", name, number, "ecl")
                    expansions[entry.ecl] = _codes(client, server, entry.ecl, path, located)
    write_json(lock_file(Path(located.file)), {"server": server, "expansions": expansions})
    return {ecl: len(codes) for ecl, codes in expansions.items()}


def _codes(client: httpx.Client, server: str, ecl: str, path: tuple[str | int, ...], located: Located) -> list[str]:
    codes: set[str] = set()
    while True:
        page = _page(client, server, ecl, len(codes), path, located)
        contains = page.get("contains") or []
        fresh = {str(entry["code"]) for entry in contains if entry.get("system") == SNOMED_CT and "code" in entry}
        if not fresh - codes:
            break
        codes |= fresh
        if len(codes) > MOST_CODES:
            raise located.error(path, f"more than {MOST_CODES} codes", "cohort.terminology", "Narrow the expression.")
        if len(codes) >= int(page.get("total") or 0):
            break
    if not codes:
        raise located.error(path, "the terminology server knows no such codes", "cohort.empty_codes")
    return sorted(codes)


def _page(  # noqa: PLR0917 -- all say where the page is
    client: httpx.Client, server: str, ecl: str, offset: int, path: tuple[str | int, ...], located: Located
) -> dict[str, Any]:
    query: dict[str, str | int] = {"url": f"{SNOMED_CT}?fhir_vs=ecl/{ecl}", "count": _PAGE, "offset": offset}
    try:
        answer = client.get(f"{server.rstrip('/')}/ValueSet/$expand", params=query)
        if answer.is_client_error:
            message = f"the terminology server answers {answer.status_code}"
            raise located.error(path, message, "cohort.terminology", "Does it have SNOMED CT, and is the ECL right?")
        answer.raise_for_status()
        expansion = answer.json().get("expansion")
    except (httpx.HTTPError, ValueError, AttributeError) as problem:
        raise Unavailable(
            f"the terminology server: {words_of(problem) if isinstance(problem, httpx.HTTPError) else 'no ValueSet'}",
            code="cohort.terminology_unavailable",
        ) from None
    return expansion if isinstance(expansion, dict) else {}
