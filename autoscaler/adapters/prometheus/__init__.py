"""Signals out of Prometheus: which queries to ask, and how."""
