"""Runs Knative YAML as plain processes: what Knative does, on a laptop. Knows manifests, not functions."""
