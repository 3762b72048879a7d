import os

import pytest

_PERCENT = 10 if os.environ.get("QUICK_CHECK") else int(os.environ.get("PROPERTY_EXAMPLES", "100"))


def examples(number: int) -> int:
    """Give the number of examples of a costly property: a tenth in `make check`, a quarter in `make test`, else all."""
    return max(1, number * _PERCENT // 100)


asks_a_program = pytest.mark.skipif(
    bool(os.environ.get("QUICK_CHECK")), reason="the quick check leaves what another program is asked to make test"
)
"""A property that starts another program, and takes many seconds."""
