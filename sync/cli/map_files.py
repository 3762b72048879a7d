"""``python -m sync map``: DICOM files to transaction bundles, without any service."""

from __future__ import annotations

import stat
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import typer
from rich.progress import track

from sync.cli.reporting import EXIT_REJECTED, EXIT_USAGE, CommandReport, quiet_broken_pipe
from sync.config import Detail, HeaderLimits, MappingSettings
from sync.dicom.header import read_file
from sync.errors import ConfigError, InvalidResource
from sync.mapping.bundle import build_bundle
from sync.mapping.patient import claim_patient
from sync.mapping.resource import canonical
from sync.model import LedgerRow, ObjectRef, PatientRow, StudyRef


def map_files(*, paths: list[Path], as_json: bool) -> None:
    """Map DICOM files to FHIR, without any service."""
    report = CommandReport(as_json=as_json)
    try:
        settings, limits = MappingSettings.load(), HeaderLimits.load()
    except ConfigError as problem:
        report.console.print(str(problem))
        raise typer.Exit(EXIT_USAGE) from None
    with quiet_broken_pipe():
        _map(paths, settings, limits, report)
    if report.rejected:
        raise typer.Exit(EXIT_REJECTED)


def _map(paths: Sequence[Path], settings: MappingSettings, limits: HeaderLimits, report: CommandReport) -> None:
    began = time.perf_counter()
    files = list(_files(paths, report))
    studies = _read(files, limits, settings.detail, report)
    patients = _patients(studies, settings)
    instances = 0
    for study in sorted(studies):
        try:
            bundle, findings = build_bundle(study, studies[study], settings, patient_rows=patients[study])
        except InvalidResource as problem:
            report.reject(study.study_instance_uid, problem.code, problem.detail)
            continue
        sys.stdout.buffer.write(canonical(bundle) + b"\n")
        instances += sum(entry["resource"].get("numberOfInstances", 0) for entry in bundle["entry"])
        report.find(study, findings)
    sys.stdout.buffer.flush()
    report.summarise(
        studies=len(studies),
        instances=instances,
        files=len(files),
        rejected=report.rejected,
        findings=report.findings,
        seconds=round(time.perf_counter() - began, 2),
    )


def _read(
    files: Sequence[Path], limits: HeaderLimits, detail: Detail, report: CommandReport
) -> Mapping[StudyRef, list[LedgerRow]]:
    """Read the headers of all files, by study; a file that is no instance is reported and left out."""
    studies: defaultdict[StudyRef, list[LedgerRow]] = defaultdict(list)
    progress = report.console.is_terminal and not report.as_json
    for path in track(files, "Reading", console=report.console, transient=True, disable=not progress):
        try:
            inspection = read_file(path, limits, detail)
        except OSError as problem:
            report.reject(str(path), "file.unreadable", problem.strerror or type(problem).__name__)
            continue
        if inspection.record is not None:
            key = ObjectRef(account="file", container="", name=str(path)).key
            studies[inspection.record.study].append(
                LedgerRow(object_key=key, record=inspection.record, order=inspection.order)
            )
        elif inspection.problem is not None:
            report.reject(str(path), inspection.problem.code, inspection.problem.detail)
        else:
            report.reject(str(path), "file.gone", "It was removed meanwhile.")
    return studies


def _patients(
    studies: Mapping[StudyRef, Sequence[LedgerRow]], settings: MappingSettings
) -> Mapping[StudyRef, Sequence[PatientRow]]:
    """Collect, for each study, the rows of all studies of its patient."""
    rows: defaultdict[str, list[PatientRow]] = defaultdict(list)
    keys = {}
    for study, instances in studies.items():
        claim = claim_patient(study, instances, settings)
        keys[study] = claim.key
        rows[claim.key].append(
            PatientRow(patient_key=claim.key, study=study, study_date=claim.study_date, attributes=claim.attributes)
        )
    return {study: rows[key] for study, key in keys.items()}


def _files(paths: Iterable[Path], report: CommandReport) -> Iterator[Path]:
    """Yield regular files at and below the paths, each once, in order, following links but not loops."""
    visited: set[tuple[int, int]] = set()
    waiting = sorted(set(paths), reverse=True)
    while waiting:
        path = waiting.pop()
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in visited:
                waiting.extend(sorted(path.iterdir(), reverse=True))
        except OSError as problem:
            report.reject(str(path), "file.unreadable", problem.strerror or type(problem).__name__)
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        if stat.S_ISREG(status.st_mode):
            yield path
        elif not stat.S_ISDIR(status.st_mode):
            report.reject(str(path), "file.not_regular", "Only regular files are read.")
