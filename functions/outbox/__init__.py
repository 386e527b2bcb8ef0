"""The outboxes of every area: what a crash left in them is published here."""
