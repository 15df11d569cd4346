"""Serves the latest cycle's desired replicas to Kubernetes metrics APIs; see README.md."""
