"""Users: who may place orders, and how they prove it."""
