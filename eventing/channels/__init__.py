"""Where a Broker keeps events until each Trigger has had them."""
