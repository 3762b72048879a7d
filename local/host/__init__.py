"""
A functions host for one machine, over Microsoft's own Python worker library.

An app directory goes in (``function_app.py``, ``host.json``); its functions are indexed and invoked by
``azure-functions-runtime``, the very library that Azure runs them with from Python 3.13 on. Around it, this package
does the host's part, as far as our app uses it: queue, timer and HTTP triggers, and the HTTP output. Any other binding
is refused at start, never ignored.

What is like Azure: batches, poison queues, visibility timeouts and message encoding follow host.json, as the storage
extension's listener does. Storage that refuses for half a minute ends the process. With ``--worker process`` the app
runs in a process of its own: one that exits is replaced, after three times the host ends, and a run beyond
functionTimeout kills it with all in flight (`local.host.worker_process`). Otherwise app and host live in one process,
which a run beyond functionTimeout ends.

What is not: it listens on 127.0.0.1 only and asks for no key unless told to; there is no scale-out, no timer monitor,
no retry policies, no local.settings.json; and a message's lease lasts seconds, not ten minutes, so that the messages of
a killed host come back soon. Nothing here says that an app ran in Azure's host.
"""
