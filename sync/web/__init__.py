"""
Answers of the HTTP functions. `function_app.py` passes a `Request` and returns the `Answer`; no web framework is used.

Acting is POST only and passes `sync.operators.access.operator_of`; answers hold no patient data unless an operator
asks for it.
"""
