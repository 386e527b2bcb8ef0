"""How events travel: CloudEvents, outbox, inbox, Broker, channels. Knows no business."""
