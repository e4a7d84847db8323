"""Bodies to events: every rule of an event, and what is said when one is broken."""
