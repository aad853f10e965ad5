"""What the use cases need from the outside: protocols that the adapters implement."""
