"""Sends messages to webhooks, Slack-compatible servers, mail servers, and the services that apprise knows.

outcome     what became of a message: it was delivered, is to be tried again, or was refused for good. Pure
message     a message in the forms that the channels need. Pure
signature   the signature of a webhook. Pure
http        the signed webhook, and the Slack-compatible one
mail        e-mail over SMTP
services    the services of apprise

A sender never raises for what a receiver does, and never follows a redirect. What it says of a receiver may repeat what
the receiver answered, so the caller masks secrets before it stores or prints that.
"""
