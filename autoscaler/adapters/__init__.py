"""What stands between the decisions and the outside: Prometheus, Kubernetes, node pools."""
