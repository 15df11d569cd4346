"""What the service shows of itself: metrics, logs, and the newest cycle over HTTP."""
