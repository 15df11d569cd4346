"""Nodes read from, and asked of, whoever makes them: Cluster API or Karpenter."""
