"""Webhooks: who wants to hear of what (`service`), what there is to tell (`outbox`), and telling them (`deliverer`)."""
