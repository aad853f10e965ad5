"""Tokens and codes signed with the service's secret key, which can be verified without a store."""
