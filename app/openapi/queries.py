"""Parameters in a query: the OpenAPI document lists them, and no others are taken."""

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

from aiohttp import hdrs, web

from app.openapi.document import document, resolve
from app.schemas.faults import Fault, shown
from app.web.keys import FAULTS
from app.web.refusals import refuse

API = "/api/"


def check_query(request: web.Request) -> None:
    """Find parameters that the API does not have, or that are given twice, for the handler to refuse by 400.

    A misspelt name would leave the default in force without a word: more matches than wanted, or ``durable`` instead of
    ``stored``. The handler adds what is wrong with the values, so that one reply names everything.
    """
    if not request.query or request.method == hdrs.METH_OPTIONS:
        return
    resource = request.match_info.route.resource
    if resource is None or not resource.canonical.startswith(API):
        return
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    known = parameters(method, resource.canonical)
    faults = [fault for name in dict.fromkeys(request.query) if (fault := _fault(name, request, known))]
    if not known:
        refuse(faults)
    request[FAULTS] = faults


@cache
def parameters(method: str, path: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the schemas of an operation's query parameters by name; empty where it is not documented.

    Among them is that in which a key may stand (a security scheme), whose value is never told or logged.
    """
    operation = document()["paths"].get(path, {}).get(method.lower(), {})
    found = [resolve(parameter) for parameter in operation.get("parameters", ())]
    schemes = document()["components"]["securitySchemes"]
    keys = [schemes[name] for requirement in operation.get("security", ()) for name in requirement]
    known = {parameter["name"]: parameter["schema"] for parameter in found if parameter["in"] == "query"}
    return known | {key["name"]: {"type": "string"} for key in keys if key.get("in") == "query"}


def _fault(name: str, request: web.Request, known: Mapping[str, Mapping[str, Any]]) -> Fault | None:
    if name not in known:
        near = difflib.get_close_matches(name[:64], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        names = ", ".join(known) or "none"
        return Fault(shown(name)[1:-1], f"is no parameter of this request; known are: {names}{hint}")
    if len(request.query.getall(name)) > 1 and known[name].get("type") != "array":
        return Fault(name, "must be given once")
    return None
