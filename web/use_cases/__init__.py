"""What the product does, told without HTTP, Redis, MongoDB or Stripe."""
