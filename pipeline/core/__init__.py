"""Errors, retries, execution of tools, interfaces: what every stage uses."""
