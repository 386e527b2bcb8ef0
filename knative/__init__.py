"""Wake's Knative YAML, and the runtime that runs it with no cluster."""
