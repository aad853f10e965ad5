"""What is signed with the service's secret key, and proves something without asking a store."""
