"""Payments: what was taken from a card for an order, and what was given back."""
