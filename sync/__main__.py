"""``python -m sync``: see `sync.cli`."""

from sync.cli import app

if __name__ == "__main__":
    app(prog_name="python -m sync")
