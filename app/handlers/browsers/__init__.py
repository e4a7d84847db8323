"""Handlers for browsers of those who operate: the login, and the page."""
