"""Traffic traces, simulated replicas and the replay that closes the loop between them."""
