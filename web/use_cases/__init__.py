"""What the product does, independent of HTTP, Redis, MongoDB and Stripe."""
