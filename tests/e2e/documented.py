"""
How the commands of the pages are run: what stands for what, which end otherwise than with 0, and which are not run.

Every command that is in none of these tables is run as it stands and must end with 0, so a new one in a page needs
nothing here unless it is special.
"""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from tests.docs.typed import NEEDED

NOT_RUN: Mapping[str, str] = {
    'kill -STOP "$FHIR_PID"': "would hold back what the commands beside it do",
    'kill -CONT "$FHIR_PID"': "ends what the line above it begins",
    "make test": "starts the tests, this one among them",
    "make test-all": "starts the tests, this one among them",
    "make check": "starts the quick tests, which have been run by the caller of this one",
    "make bench": "measures for ten minutes",
    "python -m bench compare OLD NEW": "tests/unit/bench/test_regressions.py runs it with versions and files",
    "python -m bench model --fhir 20": "tests/unit/bench/test_model.py runs it",
    "python -m bench --help": "tests/unit/bench/test_measuring.py runs it",
    "python -m bench large": "measures for minutes",
    "python -m bench two-hosts --full": "measures for minutes",
    "python -m bench.emulator": "measures for minutes",
    "python -m bench rest": "measures for a minute",
    "python -m bench record VERSION": "needs the results of make bench",
    "make mutants": "changes the core and tests it for ten minutes",
    "make lock": "asks the package index",
    "python -m scripts.leftovers": "reads a deployment in Azure; tests/infra/test_leftovers.py runs it",
    "python -m scripts.leftovers --remove": "removes from a deployment in Azure; tests/infra/test_leftovers.py runs it",
    "make docs": "tests/docs/test_site.py builds the same site",
    "make release-check": "asks the package index, and refuses until there is something to release",
    "python -m local demo --once": "tests/e2e/test_demo.py runs it and reads its summary",
    "python -m local prepare --orthanc": "installs packages; make test begins with it",
    'python -m sync pause --why "restore of March 1"': "would hold back what the commands beside it do; "
    "tests/unit/cli/test_pausing.py types it",
    **{
        f"python -m sync walks {deed} 0f3c9d2a7b11": "names a walk that is there only while it lasts; "
        "tests/unit/cli/test_walk_control.py types it"
        for deed in ("pause", "resume", "cancel")
    },
}
"""Commands that nothing here runs, with the reason; those of `tests.docs.typed.NEEDED` besides."""

QUESTIONS = tuple(
    f"python -m sync {name}" for name in ("collect", "cohort", "similar", "timeline", "feedback", "models")
)
"""Commands that need no world, but the files of the one before."""

DEPLOYED = ("$TOKEN", "$API_URL")
"""Variables that lines before have from Azure."""

STAYING: Mapping[str, str] = {
    "make demo": r"(?s)Dashboard +http.*AccountName=",
    "python -m local dicom-service DIR": r'"url"',
    "python -m local up": r'"storage"',
    "python -m sync status --watch": r"IN SYNC|BEHIND",
    "python -m sync alerts watch": r"watching every",
    "python -m sync dashboard": r"the dashboard: http",
    "python -m sync dashboard --open": r"the dashboard: http",
}
"""Commands that go on until Ctrl-C, with what they say when they are ready; then they must end well."""

ENDS: Mapping[str, int] = {
    "make demo": -signal.SIGINT,  # Ctrl-C ends make itself, when the demo has ended
    "python -m sync": 2,  # without a command it shows its help, as the next does
    "python -m sync export": 2,  # it asks for a folder
    "python -m sync map": 2,
    "python -m sync walks": 2,
    "python -m sync replay": 2,  # it asks from when on
    "python -m sync dead-letters list": 1,  # there are some, in this world
    "python -m sync dead-letters list --code CODE": 1,
    "python -m sync dead-letters list --code header.not_dicom": 1,
    "python -m sync dead-letters retry --code event.foreign_source": 1,  # its container is foreign still
    "python -m sync dead-letters retry --all": 1,  # among them that one
    "python -m sync replay --from 2020-01-01 --reread": 1,  # some objects are no DICOM files
}
"""Exit status where it is not 0, each as the page of commands has it."""

SAYS: Mapping[str, str] = {
    "python -m sync status": r"(?s)IN SYNC.*Studies in FHIR +\d+ with \d+ instances",
    "python -m local delete single/image_dfl.dcm": r"^1 deleted",
    "python -m sync where UID --json | jq -r .name": r"(?m)\S$",
    "python -m sync verify": r"\d+ stud(y|ies) compared, .*\n(No drift\.|No drift is left\.)",
    "python -m sync verify --repair": r"No drift",
    "python -m sync verify --study UID": r"1 study compared",
    "python -m sync alerts watch": r"watching every \d+ s; Ctrl-C ends it",
    "python -m sync dead-letters list": r"header\.not_dicom +\d",
    "python -m sync dead-letters list --json | jq .by_code": r'"header\.not_dicom": \{',
    "python -m sync dead-letters show object KEY --secrets": r"devstoreaccount1/dicom/single/cut short\.dcm",
    "python -m sync dead-letters show study KEY": r"fhir\.ambiguous_patient",
    "python -m sync dead-letters retry --all --dry-run": r"would be asked",
    "python -m sync config check --connect": r"sound +FHIR",
    "python -m sync backfill --dry-run": r"container dicom: \d+ unchanged \(dry run, ",
    "python -m sync replay --source dicom --from 2026-03-01": r"replay \w+: .*[1-9]\d* stud(y|ies)",
    "python -m sync status --json | jq .health.verdict": r'"(in sync|attention|behind)"',
    "python -m sync map scan.dcm | jq .": r'"resourceType": "Bundle"',
    "python -m sync map scan.dcm": r'^\{"entry":\[.*"type":"transaction"\}',
    "python -m sync verify --json | jq 'select(.event == \"summary\")'": r'"left": 0',
    "python -m sync --version": r"^\d+\.\d+\.\d+$",
    'curl -s "$DICOM_SYNC_FHIR_URL/ImagingStudy?modality=CT&_summary=count" | jq .total': r"^[1-9]\d*$",
    "python -m local up": r'^\{"storage": ".*\}$',
}
"""What a command says, on either output, where its page says what one will see; a regular expression."""


@dataclass(frozen=True)
class Places:
    """What stands in this world for what the pages leave open."""

    study: str
    """Study Instance UID."""

    refused: str
    """Key of a study with a dead letter."""

    unreadable: str
    """Key of an object with a dead letter."""

    unwanted: tuple[str, str]
    """Keys of two others, whose letters may go."""

    folder: str
    """Where files may be written; ``studies`` in it holds DICOM files."""

    def filled(self, line: str) -> str:
        """
        Return a line as one would type it here.

        Raises
        ------
        AssertionError
            It leaves something open that this does not know.
        """
        for pattern, value in self._table(line):
            line = re.sub(pattern, value, line)
        left = _OPEN.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", line))
        assert not left, f"what stands for {left} in {line!r}?"
        return line

    def _table(self, line: str) -> tuple[tuple[str, str], ...]:
        one, other = self.unwanted if " discard " in line else (self.unreadable, self.unreadable)
        return (
            (r"\bstudy KEY\b", f"study {self.refused}"),
            (r"\bobject KEY\b", f"object {one}"),
            (r"\bKIND SUBJECT\b", f"object {other}"),
            (r"\backnowledge CODE\b", "acknowledge alert.lag"),
            (r"\bCODE\b", "header.not_dicom"),
            (r"\bREASON\b", "'an unknown file'"),
            (r"\bUID\b", self.study),
            (r"\b1\.2\.840\.113619[.\d]*", self.study),
            (r"\bDIR\b", f"{self.folder}/{_FOLDERS.get(line.removesuffix(' DIR'), 'exported')}"),
            (r"\bPATH…", "scan.dcm"),
            (r"\bMY\.json\b", "infra/prices.json"),
            (r"\bbench (pages|calls)$", r"bench trial \1"),  # the same code in the smallest world
            (r"/data/studies\b", f"{self.folder}/studies"),
            (r"/data/export\b", f"{self.folder}/export"),
        )


def plain(line: str) -> str:
    """Return a command as the tables have it: the program without its folder."""
    return line.removeprefix(".venv/bin/")


def not_run(line: str) -> str | None:
    """Say why a command is not run; None when it is."""
    if plain(line) in NOT_RUN:
        return NOT_RUN[plain(line)]
    if plain(line).startswith(QUESTIONS):
        return "tests/insights types them one after the other, on data of their own"
    if any(variable in line for variable in DEPLOYED):
        return "takes what only a deployment gives"
    missing = (needed for name, needed in NEEDED.items() if re.search(rf"(?:^|[|;&(]\s*)(?:\w+=\S* )*{name}\s", line))
    return next((f"takes {resource}" for resource in missing), None)


_FOLDERS = {"python -m local dicom-service": "studies", "python -m local clinical": "clinical"}
"""What stands for DIR, where it is not the folder of an export."""

_OPEN = re.compile(r"<[^>]+>|…|(?<![\w$])(?!README|CT_|DICOM_SYNC|POST\b)[A-Z]{2}[A-Z_]*\b")
"""What looks like something that one has to fill in."""
