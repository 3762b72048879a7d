"""
Cancels a delivery that exceeds its time budget; it is counted and delivered again.

A delivery that waits for an answer that never comes, or for a future that nothing resolves, would hold its message as
long as the process lives: the host renews its lease for ever, and nothing reports it. Cancelled, it is an outage like
any other, because everything that a delivery does is idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from sync.errors import DeliveryTooLong
from sync.ports import Core
from sync.telemetry.budgets import cut_off_after
from sync.telemetry.instruments import FAILURES

T = TypeVar("T")


async def within_budget(work: Awaitable[T], s: Core) -> T:
    """
    Await the work of one delivery, for at most ``DICOM_SYNC_DELIVERY_BUDGET_SECONDS``.

    Raises
    ------
    DeliveryTooLong
        The work took longer and was cancelled; deliver the message again.
    """
    seconds = s.settings.delivery_budget_seconds
    try:
        return await cut_off_after(seconds, work, DeliveryTooLong(f"more than {seconds:g} s"))
    except DeliveryTooLong:
        s.telemetry.measure(FAILURES, code=DeliveryTooLong.code)
        s.telemetry.event("delivery.too_long", logging.ERROR, seconds=seconds)
        raise
