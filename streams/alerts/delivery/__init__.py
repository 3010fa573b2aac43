"""Tells channels and the topic `alerts` of incidents, at least once.

channels         the channels file
channel_secrets  references to secrets, and all forms in which they could be printed
outbox           claims deliveries in Postgres, and records how they ended
deliver          the loop: claims, explains, sends, records
connect          opens what the loop needs
retries          when a message is sent again
senders          makes the sender of a channel
topic            the sender of the topic
texts            the messages that people read
trial            the message of `emostream alerts test`
metrics          the Prometheus metrics
"""
