"""The scaling algorithms, one file each; they import `autoscaler.core` and nothing else of ours."""
