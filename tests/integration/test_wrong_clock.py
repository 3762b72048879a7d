"""A machine whose clock is an hour wrong, against Azurite, whose clock is right: what others read of it is right."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.adapters import clocks
from sync.adapters.clocks import SystemClock
from sync.bootstrap import start
from sync.config import Settings
from sync.model import StudyRef
from sync.protocol.dirty_studies import mark_dirty, seconds_until_due
from sync.protocol.leases import take
from tests.contract.storage import azure_storage

HOUR = 3600
LEASE = 30


@pytest.fixture(params=[HOUR, -HOUR])
async def elsewhere(request, azurite, monkeypatch):
    """Give the services of a command on a machine with a wrong clock."""
    monkeypatch.setattr(clocks, "_STARTED", clocks._STARTED + timedelta(seconds=request.param))
    settings = Settings(fhir_url="http://localhost:1/fhir", AzureWebJobsStorage=azurite)
    running = await start(settings, command=True)
    assert abs((SystemClock().now() - datetime.now(UTC)).total_seconds()) > HOUR - LEASE, "its own clock is wrong"
    yield running.services
    await running.close()


async def test_a_study_that_it_marks_is_due_when_it_would_be_elsewhere(azurite, elsewhere):
    """It was due an hour later, or at once."""
    study = StudyRef(study_instance_uid="1.2.826.0.1.3680043.8.498.77")
    async with azure_storage(azurite) as other:
        await mark_dirty([study], elsewhere)
        dirty = (await other.dirty.read(study)).value
    late = dirty.last_marked - datetime.now(UTC)
    assert abs(late.total_seconds()) < LEASE
    assert 0 < seconds_until_due(dirty, elsewhere) <= elsewhere.settings.quiet_period


async def test_a_lease_that_it_takes_lasts_as_long_as_elsewhere(azurite, elsewhere):
    lease = await take("walk of a wrong clock", elsewhere.cursors, elsewhere.clock, seconds=LEASE)
    async with azure_storage(azurite) as other:
        until = (await other.cursors.read(lease.name)).value.held_until
    lease.check()
    assert 0 < (until - datetime.now(UTC)).total_seconds() <= 2 * LEASE
    await lease.advance({"at": 1})
    await lease.release()
