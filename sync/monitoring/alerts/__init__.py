"""
Alert rules, their evaluation and the watch: coroutines over the ports, shared by command line, HTTP and dashboard.

They return frozen values; how these are shown, and who may ask for them, is decided above.
"""
