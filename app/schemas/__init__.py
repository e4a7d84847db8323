"""From bodies to events: every rule of an event, and the message when one is broken."""
