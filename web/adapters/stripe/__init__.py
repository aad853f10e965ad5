"""Stripe, the payment gateway: whose money moved."""
