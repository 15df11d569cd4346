"""An autoscaler for GPU inference on Kubernetes that decides in one pure function."""
