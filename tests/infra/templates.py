"""Where the templates are, and what else the contracts on them read."""

import json
import re
from pathlib import Path

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
ROLES = json.loads((INFRA / "roles.json").read_text())


def parameters() -> dict[str, str]:
    """Return the default of each parameter of the deployment as it is written; empty: it has none."""
    text = (INFRA / "main.bicep").read_text("utf-8")
    return dict(re.findall(r"^param (\w+) [^=\n]+?(?: = (.+))?$", text, re.MULTILINE))
