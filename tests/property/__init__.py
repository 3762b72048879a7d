import os


def examples(number: int) -> int:
    """Give the number of examples of a costly property: a third in `make check`, which has to be quick."""
    return number // 3 if os.environ.get("QUICK_CHECK") else number
