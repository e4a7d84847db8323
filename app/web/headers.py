"""Headers that every page carries."""

from collections.abc import Collection, Mapping

from aiohttp import hdrs, web

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors {ancestors}; form-action {action}"
)

PAGE_HEADERS: web.AppKey[Mapping[str, str]] = web.AppKey("page_headers", Mapping)
"""Headers of pages without forms."""

FORM_HEADERS = {
    "Content-Security-Policy": _POLICY.format(ancestors="'none'", action="'self'"),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would send a form with ``Origin: null``.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-store, no-transform",
}
"""Headers of pages with forms: kept nowhere, and compressed by nobody, because they hold a secret of the session.

Nobody may show them in a frame, because who clicks there may be made to click on something else.
"""


def page_headers(frame_origins: Collection[str]) -> Mapping[str, str]:
    """Return the headers of pages without forms, which only pages of ``frame_origins`` may show in a frame."""
    return {
        "Content-Security-Policy": _POLICY.format(
            ancestors=" ".join(sorted(frame_origins)) or "'none'", action="'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        hdrs.CACHE_CONTROL: "no-cache",
    }
