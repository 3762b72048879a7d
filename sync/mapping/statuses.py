"""What the flags of a document (PS3.3 C.17.2) say of how far it has come."""

from __future__ import annotations

from sync.mapping.source import Source
from sync.mapping.values import code, first


def document_status(source: Source) -> str:
    """
    DiagnosticReport.status of (0040,A491) Completion, (0040,A493) Verification and (0040,A496) Preliminary Flag.

    Returns
    -------
    str
        ``partial``, ``preliminary``, ``final`` or, when no flag tells, ``unknown``. Only what somebody has verified, or
        what its author calls final, is final.
    """
    completion, verification, preliminary = (
        (code(first(source.attributes, keyword, source.findings), keyword, source.findings) or "").upper()
        for keyword in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")
    )
    if completion == "PARTIAL":
        return "partial"
    if preliminary == "PRELIMINARY":
        return "preliminary"
    if verification == "VERIFIED" or preliminary == "FINAL":
        return "final"
    return "preliminary" if verification == "UNVERIFIED" else "unknown"
