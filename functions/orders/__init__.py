"""Orders: placed, then confirmed, rejected or cancelled."""
