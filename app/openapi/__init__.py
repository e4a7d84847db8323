"""The OpenAPI document, what is checked against it, and the page that shows it."""
