"""
How fast a header becomes a ledger row, against a bare pydicom read of the same bytes in the same run.

Files in memory go in, a table and a dictionary of figures come out. CPU time, not wall time, and the two readers take
turns, so that a busy machine slows both alike. Real files beside the wheel's are taken from the folder ``DICOM_CORPUS``
names, where there is one. Run it by ``python -m bench.header_speed``.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pydicom
import pydicom.data

from bench.goals import TIMES_VARY, Goal, Section
from sync.adapters.azure.tables.ledger import ledger_row
from sync.adapters.azure.tables.rows import entity_bytes
from sync.config import HeaderLimits
from sync.dicom.header import parse_header
from sync.model import InstanceRecord, LedgerRow, ObjectKey

WHEEL = Path(pydicom.data.__file__).parent
CORPUS = Path(os.environ.get("DICOM_CORPUS") or Path(__file__).parents[2] / "shared" / "data" / "dicom")

KINDS = {
    "CT": "test_files/CT_small.dcm",
    "MR": "test_files/MR_small.dcm",
    "MR, implicit VR": "test_files/MR_small_implicit.dcm",
    "MR, big endian": "test_files/MR_small_bigendian.dcm",
    "secondary capture, JPEG": "test_files/SC_rgb_jpeg_gdcm.dcm",
    "deflated": "test_files/image_dfl.dcm",
    "SR": "test_files/reportsi.dcm",
    "RT plan": "test_files/rtplan.dcm",
    "12-lead ECG": "test_files/waveform_ecg.dcm",
    "Japanese names": "charset_files/chrH31.dcm",
}
CORPUS_KINDS = {
    "MR, GE private groups": "dcm_qa_nih/20180918GE/mr_0004/*.dcm",
    "MR, Siemens private 120 KB": "dcm_qa_nih/20180918Si/*/*.dcm",
    "dose SR, 224 KB": "PySkinDose/siemens*.dcm",
    "XA": "grailbio-xa/*.dcm",
}
WITH_CONTENT = frozenset({"SR", "dose SR, 224 KB"})
"""Their whole tree is read, not their header only: they have a rate of their own."""
GOAL_RATIO, GOAL_RATE = 0.45, 1000

_LIMITS = HeaderLimits()
_KEY = ObjectKey("0" * 20 + "-0", "0" * 40)


def files() -> dict[str, bytes]:
    """Return the files to measure, by kind."""
    file_bytes = {kind: (WHEEL / name).read_bytes() for kind, name in KINDS.items()}
    for kind, pattern in CORPUS_KINDS.items():
        for path in sorted(CORPUS.glob(pattern)):
            data = path.read_bytes()
            if data[128:132] == b"DICM":
                file_bytes[kind] = data
                break
    return file_bytes


def to_row(data: bytes) -> dict[str, Any]:
    """Turn a header into the row that Table Storage keeps."""
    record = parse_header(data, size=len(data), limits=_LIMITS)
    assert isinstance(record, InstanceRecord)
    return ledger_row(LedgerRow(object_key=_KEY, record=record, order="2026-01-01T00:00:00+00:00"))


def bare(data: bytes) -> object:
    """Read as pydicom does, decoding nothing."""
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)


def seconds(action: Callable[[bytes], object], data: bytes, repeats: int) -> float:
    """Return the CPU seconds of one call."""
    started = time.process_time()
    for _ in range(repeats):
        action(data)
    return (time.process_time() - started) / repeats


def compare(data: bytes, rounds: int = 7, budget: float = 0.03) -> tuple[float, float]:
    """Return the best CPU seconds of one call, ours and bare, over rounds in which they take turns."""
    repeats = max(3, int(budget / max(seconds(bare, data, 3), 1e-6)))
    pairs = [(seconds(to_row, data, repeats), seconds(bare, data, repeats)) for _ in range(rounds)]
    return min(ours for ours, _ in pairs), min(theirs for _, theirs in pairs)


def measure() -> dict[str, Any]:
    """
    Measure every kind.

    Returns
    -------
    dict
        ``kinds``: kind -> bytes of the file and of the row, instances a second (ours and bare), their ratio;
        ``all``: rate over one file of each kind but reports, median and lowest ratio; ``goals``; ``met``: the
        lowest ratio and the rate reach them.
    """
    kinds: dict[str, dict[str, float]] = {}
    total = 0.0
    for kind, data in files().items():
        ours, theirs = compare(data)
        total += 0.0 if kind in WITH_CONTENT else ours
        kinds[kind] = {
            "file_bytes": len(data),
            "row_bytes": entity_bytes(to_row(data)),
            "rows_per_second": round(1 / ours),
            "bare_per_second": round(1 / theirs),
            "ratio": round(theirs / ours, 2),
        }
    ratios = [row["ratio"] for row in kinds.values()]
    rate = len(kinds.keys() - WITH_CONTENT) / total
    return {
        "kinds": kinds,
        "all": {"rows_per_second": round(rate), "ratio": median(ratios), "lowest_ratio": min(ratios)},
        "goals": {"ratio": GOAL_RATIO, "rows_per_second": GOAL_RATE},
        "met": min(ratios) >= GOAL_RATIO and rate >= GOAL_RATE,
    }


HOW = (
    "CPU time of parse_header and the row codec against pydicom.dcmread(stop_before_pixels=True) on the same bytes in "
    "memory, in turns, best of 7 rounds; ratios are per kind of file; the rate is over one file of each kind but "
    "reports, whose content is read too"
)


def section() -> Section:
    """Measure, as a section of the bench."""
    figures = measure()
    every = figures["all"]
    goals = [
        Goal(
            what="rate against a bare read, slowest kind",
            measured=every["lowest_ratio"],
            bound=GOAL_RATIO,
            at_least=True,
            floor=1,
            tolerance=TIMES_VARY,
        ),
        Goal(
            what="rows a second on one core",
            measured=every["rows_per_second"],
            bound=GOAL_RATE,
            at_least=True,
            floor=every["rows_per_second"] / every["ratio"],
            tolerance=TIMES_VARY,
        ),
    ]
    return Section(name="header", how=HOW, goals=goals, figures=figures)


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{'header to ledger row':30}{'file KB':>9}{'row B':>7}{'rows/s':>9}{'bare/s':>9}{'ratio':>8}")
    for kind, row in figures["kinds"].items():
        print(
            f"{kind:30}{row['file_bytes'] / 1024:9.0f}{row['row_bytes']:7}"
            f"{row['rows_per_second']:9,}{row['bare_per_second']:9,}{row['ratio']:8.0%}"
        )
    every = figures["all"]
    ratios = f"ratio: median {every['ratio']:.0%}, lowest {every['lowest_ratio']:.0%}"
    print(f"{'one of each':46}{every['rows_per_second']:9,}   {ratios}")
    verdict = "met" if figures["met"] else "MISSED"
    print(f"goals: {GOAL_RATIO:.0%} of bare and {GOAL_RATE:,} rows/s on one core: {verdict}")


if __name__ == "__main__":
    show(measure())
