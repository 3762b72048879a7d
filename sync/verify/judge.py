"""
Compares known drift with the findings of a check: the one place that announces, counts and stores drift.

    load table ``drifts``  ->  a check finds drifts  ->  conclude: announce new drifts, store remaining ones

The timer, the command ``verify`` and the button of a study page all conclude here, so that a drift is announced once,
whichever of them finds it first.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sync.model import Drift, DriftKind
from sync.ports import Verify
from sync.protocol.outbox import add_drift_event

Identity = tuple[DriftKind, str]


def identity(drift: Drift) -> Identity:
    """Return the identity of a drift: its kind and resource, which several studies may share."""
    return drift.kind, drift.resource


class Judge:
    """
    The known drifts of one run of checks.

    Parameters
    ----------
    found_in
        Names the run for result events; a run that is repeated under the same name announces the same events.
    work_list
        Name of the full round whose list of work the notes are; empty for a check of parts, which leaves a drift in the
        list of the round that found it.
    """

    def __init__(self, s: Verify, *, found_in: str, work_list: str = "") -> None:
        self._s = s
        self._work_list = work_list
        self._found_in = found_in
        self._known: defaultdict[str, list[Drift]] = defaultdict(list)
        self._announced: set[Identity] = set()
        self._loaded = False

    async def load(self, subject: str | None = None) -> None:
        """Read the known drifts, of one subject or of all."""
        self._known.clear()
        async for drift in self._s.drifts.all():
            self._announced.add(identity(drift))
            if subject is None or drift.subject == subject:
                self._known[drift.subject].append(drift)
        self._loaded = True

    @property
    def subjects(self) -> list[str]:
        """Subjects with known drift."""
        return [subject for subject, drifts in self._known.items() if drifts]

    def known(self, subject: str) -> Sequence[Drift]:
        """Return the known drifts of a subject."""
        return self._known.get(subject, [])

    def open_by_kind(self) -> Counter[DriftKind]:
        """Count the known drifts that a repair may still remove."""
        return Counter(drift.kind for drifts in self._known.values() for drift in drifts if not drift.kept)

    def with_kept(self, drifts: Sequence[Drift], subject: str | None = None) -> list[Drift]:
        """Keep the mark of a drift that an earlier repair could not remove, under ``subject`` or its own subject."""
        kept_drifts = {
            identity(recorded)
            for drift in drifts
            for recorded in self.known(subject if subject is not None else drift.subject)
            if recorded.kept
        }
        return [replace(drift, kept=identity(drift) in kept_drifts) for drift in drifts]

    async def conclude(self, subject: str, drifts: Sequence[Drift], open_drifts: Sequence[Drift]) -> list[Drift]:
        """
        Announce the new ``drifts``, and make ``open_drifts`` the subject's rows in table ``drifts``. Idempotent.

        Parameters
        ----------
        drifts
            Drifts that the check found.
        open_drifts
            Drifts that remain, after a repair if there was one.

        Returns
        -------
        list
            The drifts that were not known before.

        Raises
        ------
        StoreUnavailable
            Storage did not answer; the next run concludes again.
        """
        if not self._loaded:  # or all known drifts would be announced again
            await self.load()
        before = self._known.pop(subject, [])
        remaining = {identity(drift) for drift in open_drifts}
        new = [drift for drift in drifts if identity(drift) not in self._announced]
        # Announced before it is stored: after a crash in between it is announced again, under the same id in the same
        # round. In the other order, a drift could be stored without an event.
        for drift in new:
            self._announced.add(identity(drift))
            self._s.telemetry.event("drift.found", logging.WARNING, kind=drift.kind.value, subject=subject)
            repaired = identity(drift) not in remaining
            await add_drift_event(drift, self._s, found_in=self._found_in, repaired=repaired)
        if list(open_drifts) != before:
            met = [replace(drift, found_in=self._work_list) for drift in open_drifts]
            await self._s.drifts.note(subject, met, self._s.clock.now())
        if open_drifts:
            self._known[subject] = list(open_drifts)
        self._announced -= {identity(drift) for drift in before} - remaining  # a drift found again is new
        return new
