"""The limiter sidecar: one process per host that decides "may this client make this request now".

``python -m sidecar gunicorn …`` starts it beside the web workers. The parts, each usable alone:

- ``client_address`` determines who the client of a request is;
- ``sliding_log`` counts, exactly and in memory; ``shared_log`` does so in Redis, for several hosts;
- ``protocol`` is the protocol between workers and limiter over a Unix socket;
- ``server`` is the limiter's process; ``host_limiter`` decides from its own logs, and
  ``shared_limiter`` from the shared one, or from its own while that is unavailable;
- ``client`` is a worker's client, over a ``connection``; it counts by itself while there is none;
- ``supervisor`` runs limiter and command together, ``parent_death`` ends them when it is killed;
- ``settings`` is the only place that reads the environment, and ``env_file`` adds to it;
- ``server_urls`` checks URLs of Redis and MongoDB.

Nothing here imports the web application. Linux only.
"""
