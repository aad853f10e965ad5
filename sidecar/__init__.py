"""The limiter sidecar: one process per host that decides "may this client make this request now".

``python -m sidecar gunicorn …`` starts it beside the web workers. The parts, each usable alone:

- ``client_address`` says who the client of a request is;
- ``sliding_log`` counts, exactly and in memory; ``shared_log`` does so in Redis, for several hosts;
- ``protocol`` is what workers and limiter say to each other over a Unix socket;
- ``server`` is the limiter's process, ``host_limiter`` what it answers from its own logs, and
  ``shared_limiter`` from the shared one, or its own while that does not answer;
- ``client`` asks for a worker, over a ``connection``, or counts by itself while nobody answers;
- ``supervisor`` runs limiter and command together, ``parent_death`` ends them when it is killed;
- ``settings`` is the one place that reads the environment, and ``env_file`` what adds to it;
- ``server_urls`` checks addresses of Redis and MongoDB.

Nothing here imports the web application. Linux only.
"""
