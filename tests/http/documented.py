"""What the OpenAPI document says of a reply, asserted in one place."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from app.openapi.document import document, resolve
from tests.http.service import Reply

_BASE = "urn:openapi"


def validate(pointer: str, body: Any) -> None:
    """Check a value against the schema at a place of the document."""
    faults = [f"{fault.json_path}: {fault.message}" for fault in _validator(pointer).iter_errors(body)]
    assert not faults, f"{pointer}: {faults}\n{body}"


def escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def pointer_to(node: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Follow references, keeping the pointer at which the node really lies."""
    while "$ref" in node:
        path = node["$ref"].removeprefix("#")
        node = resolve(node)
    return node, path


def assert_documented(method: str, path: str, reply: Reply) -> None:
    """Check a reply against the document: status, content type, headers, body."""
    operation = document()["paths"][path][method.lower()]
    status = str(reply.status)
    assert status in operation["responses"], f"{method} {path}: {status} {reply.text}"
    node = operation["responses"][status]
    response, pointer = pointer_to(node, f"/paths/{escape(path)}/{method.lower()}/responses/{status}")
    for name, node in response.get("headers", {}).items():
        header, place = pointer_to(node, f"{pointer}/headers/{escape(name)}")
        if header.get("required"):
            assert reply.headers.get(name), f"{method} {path} {status}: no {name}"
        if (value := reply.headers.get(name)) is not None:
            validate(f"{place}/schema", int(value) if header["schema"].get("type") == "integer" else value)
    if "content" not in response:
        assert reply.text == ""
        return
    content_type = reply.headers["Content-Type"].partition(";")[0]
    assert content_type in response["content"], f"{method} {path} {status}: {content_type}"
    if content_type.endswith("json"):
        validate(f"{pointer}/content/{escape(content_type)}/schema", json.loads(reply.text))


@cache
def _validator(pointer: str) -> Draft202012Validator:
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": f"{_BASE}#{pointer}"}
    registry = Registry().with_resource(_BASE, resource)
    return Draft202012Validator(schema, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
