"""`wake parity`: whether two installations of Wake answer the same; what they are asked is in scenarios.yaml."""
