"""
Options and help of each command; what it does is in the module of `sync.cli` that it loads when it runs.

``--help``, the parser and shell completion need these modules alone: they import neither our models nor any library
but Typer. A command that loaded what it runs took up to a second of CPU before its first line of help.
"""
