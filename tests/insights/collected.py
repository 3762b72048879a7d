"""Small worlds of resources, collected."""

import atexit
import json
import shutil
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path

from insights.collect import Built, Input, Store, build, read_folder
from insights.views import Catalogue


@cache
def catalogue() -> Catalogue:
    return Catalogue.shipped()


def write(folder: Path, *resources: dict, deleted: tuple[str, ...] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    by_type = defaultdict(list)
    for resource in resources:
        by_type[resource["resourceType"]].append(json.dumps(resource))
    for kind, lines in by_type.items():
        (folder / f"{kind}.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
    if deleted:
        entries = [{"request": {"method": "DELETE", "url": reference}} for reference in deleted]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        (folder / "deleted").mkdir(exist_ok=True)
        (folder / "deleted" / "1.ndjson").write_text(json.dumps(bundle) + "\n", "utf-8")
    return folder


def collect(folder: Path, source: Path, **options) -> Built:
    return build(Store(folder), read_folder(source), catalogue(), source=str(source), **options)


class _Stopped(Exception):
    """A build was stopped."""


@cache
def _tables_of_nothing() -> Path:
    """A full build of nothing that was stopped after its last type, as `build` left it."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    folder, last = Path(kept.name), list(catalogue().by_resource)[-1]

    def stop(kind: str, _: int) -> None:
        if kind == last:
            raise _Stopped

    store = Store(folder / "tables")
    try:
        build(store, Input({}), catalogue(), source="", progress=stop)
    except _Stopped:
        return store.building
    raise AssertionError("it was not stopped")


def collect_few(folder: Path, source: Path) -> Built:
    """
    Collect resources of a few types for tests of questions, in a third of the time.

    The build goes on where one of nothing was stopped: types without files are loaded already. That this gives what a
    build from the start gives is tested in `test_collect`.
    """
    store = Store(folder)
    store.prepare()
    shutil.copyfile(_tables_of_nothing(), store.building)
    return collect(folder, source)


def tables(folder: Path) -> dict[str, list[tuple]]:
    """Every table, its rows in a fixed order."""
    with Store(folder).reading() as reading:
        names = [row[0] for row in reading.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {
            name: sorted(reading.connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
            for name in sorted(names)
            if name != "_collected"
        }
