"""What the business does: one file an operation, beside the noun it acts on."""
