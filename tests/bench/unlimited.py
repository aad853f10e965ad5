"""The application without a limiter, to measure what the limiter costs."""

from tests.support.no_limit import lift_limit
from wsgi import app

lift_limit(app)
