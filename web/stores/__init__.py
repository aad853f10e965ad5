"""One module for each outside system: Redis, MongoDB, the payment gateway, the event files."""
