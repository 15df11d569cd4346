"""Replicas read from a Kubernetes cluster, and changed there."""
