"""Dead letters: events that could not be delivered, or that a function refused, kept until somebody decides."""
