"""What is played behind lying gateways: one lie for a long time, and many of them at random beside everything else."""

from __future__ import annotations

from tests.simulation.contents import Content
from tests.simulation.gateway.virtual_time import run
from tests.simulation.gateway.world import PATIENCE, REAL, Adapters, GatewayWorld

OUTAGE = 6 * PATIENCE
RECOVERY = 1500.0
"""Seconds after which all is right without anybody's help: what is out of patience is tried every ten minutes."""

MISLEADING = ("fhir.rejected", "sync.unexpected", "poison.object", "poison.study", "store.contention")
"""Codes under which an outage must not be told: they send operators elsewhere, or wait for one."""

KEPT = (("a/1", Content("1", "P1", "11")), ("b/1", Content("2", "P2", "21")))
OF_THE_EHR = Content("4", "P2", "41")
"""A new study of the patient that the EHR keeps."""

OTHERS = (Content("1", "P1", "12"), Content("2", "P2", "22"), Content("3", "P1", "31"))


def one_lie(service: str, lie: str, adapters: Adapters = REAL, *, all_faults: bool = True) -> list[str]:
    """
    Let one gateway lie in one way for long, while an object comes and another goes; say what is wrong.

    Parameters
    ----------
    all_faults
        Whether to go on after the first.
    """

    async def played() -> list[str]:
        w = GatewayWorld(1, only={service: (lie,)}, adapters=adapters, until_wrong=not all_faults)
        for name, content in KEPT:
            w.put(name, content, keep=True)
        w.put("c/1", OTHERS[2])
        await w.live(60)
        wrong = w.difference()
        w.put("a/2", OTHERS[0])
        w.put("b/2", OF_THE_EHR)
        w.delete("c/1")
        with w.lying(service, all_the_time=True):
            await w.live(OUTAGE)
            misled = sorted(w.letters() & set(MISLEADING))
            wrong += [f"it was told as {code}" for code in misled] + (w.wrong if not all_faults else [])
            if service in ("fhir", "blobs") and not w.letters() and w.difference():
                wrong.append("it was not told")
        if wrong and not all_faults:
            return wrong
        await w.live(RECOVERY)
        return wrong + w.difference() + w.wrong

    return run(played())


def schedule(seed: int, adapters: Adapters = REAL) -> list[str]:
    """Let gateways lie in spells beside crashes, duplicates and changes, then no more; say what is wrong."""

    async def played() -> list[str]:
        w = GatewayWorld(seed, adapters=adapters)
        for name, content in KEPT:
            w.put(name, content, keep=True)
        await w.live(w.rng.choice((0, 30)))
        w.crashes = w.rng.choice((0.0, 0.0, 0.1))
        services = w.rng.choice(
            (("fhir",), ("blobs",), ("state",), ("fhir", "blobs"), ("fhir", "blobs", "state", "queues"))
        )
        with w.lying(*services):
            for _ in range(w.rng.randint(1, 5)):
                name = w.rng.choice(("a/2", "b/2", "c/1", "d/1"))
                if w.rng.random() < 0.3:
                    w.delete(name)
                else:
                    w.put(name, w.rng.choice((*OTHERS, OF_THE_EHR)))
                await w.live(w.rng.choice((1, 20, 300)))
        w.crashes = 0.0
        await w.live(RECOVERY)
        return w.difference() + w.wrong

    return run(played(), seed=seed)
