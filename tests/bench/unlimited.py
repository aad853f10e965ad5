"""The application without a limiter, to measure what that costs."""

from tests.no_limit import NoLimit
from wsgi import app

app.wsgi_app._limiter = NoLimit()
