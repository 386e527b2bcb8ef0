"""gRPC: serving it and calling it. Knows no area."""
