"""
What HTTP functions answer. `function_app.py` hands a `Request` in and takes an `Answer` out; no web framework is known.

Acting is POST only and passes `sync.operators.access.operator_of`; answers hold no patient data unless an operator
asks for it.
"""
