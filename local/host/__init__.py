"""
A functions host for one machine, over Microsoft's own Python worker library.

An app directory goes in (``function_app.py``, ``host.json``); its functions are indexed and invoked by
``azure-functions-runtime``, the very library that Azure runs them with from Python 3.13 on. Around it, this package
does the host's part, as far as our app uses it: queue, timer and HTTP triggers, and the HTTP output. Any other binding
is refused at start, never ignored.

What is like Azure: batches, poison queues, visibility timeouts and message encoding follow host.json, as the storage
extension's listener does. A run beyond functionTimeout ends the process with
all in flight, and so does storage that refuses for half a minute; Azure's host restarts the worker, and ends after
three such times. What is not: there are no keys (every authLevel is open, on 127.0.0.1 only), no scale-out,
no timer monitor, no retry policies, no local.settings.json; and a message's lease lasts seconds, not ten minutes, so
that the messages of a killed host come back soon. Nothing here says that an app ran in Azure's host.
"""
