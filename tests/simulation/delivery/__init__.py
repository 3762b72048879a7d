"""
Messages and timers that fail: scenes that end well by the rules of `sync.delivery` and `sync.monitoring.timers`.

A scene is one story, played from its beginning for every call at which a process may die in it. It returns what is
wrong; `mutants` holds the rules, each with the scene that goes wrong without it.
"""
