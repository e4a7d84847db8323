"""Headers that every page carries."""

from aiohttp import hdrs

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-cache",
}

FORM_HEADERS = {
    **PAGE_HEADERS,
    "Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"].replace(
        "form-action 'none'", "form-action 'self'"
    ),
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would send a form with ``Origin: null``.
    "Referrer-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-store, no-transform",
}
"""The same of pages with forms: kept nowhere, and compressed by nobody, because they hold a secret of the session."""
