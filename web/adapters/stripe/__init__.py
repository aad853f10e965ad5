"""Stripe: whose money moved."""
