"""
What operators do and are told: plain coroutines over the ports, which the command line, HTTP and the dashboard share.

They return frozen values; how these are shown, and who may ask for them, is decided above.
"""
