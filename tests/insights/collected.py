"""Small worlds of resources, collected."""

import json
from collections import defaultdict
from functools import cache
from pathlib import Path

from insights.collect import Built, Store, build, read_folder
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


def tables(folder: Path) -> dict[str, list[tuple]]:
    """Every table, its rows in a fixed order."""
    with Store(folder).reading() as reading:
        names = [row[0] for row in reading.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {
            name: sorted(reading.connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
            for name in sorted(names)
            if name != "_collected"
        }
