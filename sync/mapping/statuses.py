"""The status of a document, from its completion and verification flags (PS3.3 C.17.2)."""

from __future__ import annotations

from sync.dicom.attributes import CONTENT, EXTRACTED_OF_DOCUMENTS, first_text, items, walk
from sync.mapping.source import Source
from sync.mapping.values import code, first, uid


def predecessors(source: Source) -> list[str]:
    """Return the SOP Instance UIDs of the documents that this one replaces, (0040,A360), each once."""
    series = [
        referenced
        for item in items(source.attributes, _PREDECESSORS)
        for referenced in items(item, "ReferencedSeriesSequence")
    ]
    stated = [referenced for item in series for referenced in items(item, "ReferencedSOPSequence")]
    uids = [uid(first_text(item, "ReferencedSOPInstanceUID")) for item in stated]
    return list(dict.fromkeys(stated_uid for stated_uid in uids if stated_uid))


_PREDECESSORS = "PredecessorDocumentsSequence"


_OF_CONTENT = frozenset(row.keyword for row in walk((CONTENT,))) - {
    row.keyword for row in walk(EXTRACTED_OF_DOCUMENTS) if row.keyword != "ConceptNameCodeSequence"
}
"""Keywords that only a document's content has; and its title, which is content as well."""
_LEFT_OUT = frozenset({"omitted", "instance only"})
"""Actions of a reader on a value, or on the whole tree, that it could not read."""


def lacks_content(source: Source) -> bool:
    """Return whether the reader left out parts of the document: a result may be missing, so it must not be final."""
    return any(finding.keyword in _OF_CONTENT and finding.action in _LEFT_OUT for finding in source.record.findings)


def document_status(source: Source) -> str:
    """
    Return DiagnosticReport.status by (0040,A491) Completion, (0040,A493) Verification and (0040,A496) Preliminary Flag.

    Returns
    -------
    str
        ``partial``, ``preliminary``, ``final`` or, without a flag, ``unknown``. A document is final only if a person
        has verified it or its author flags it as final; if it replaces an earlier document, it is ``amended``. A
        document of which the reader left parts out is ``partial``.
    """
    completion, verification, preliminary = (
        (code(first(source.attributes, keyword, source.findings), keyword, source.findings) or "").upper()
        for keyword in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")
    )
    if completion == "PARTIAL" or lacks_content(source):
        return "partial"
    if preliminary == "PRELIMINARY":
        return "preliminary"
    if verification == "VERIFIED" or preliminary == "FINAL":
        return "amended" if predecessors(source) else "final"
    return "preliminary" if verification == "UNVERIFIED" else "unknown"
