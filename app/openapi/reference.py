"""The OpenAPI document as the view model that `templates/docs.html` loops over. Pure functions."""

import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import attrs
from markdown_it import MarkdownIt

Node = Mapping[str, Any]

_RULES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
    "default": "default {}",
}
_JOINED = {"oneOf": " or ", "anyOf": " or ", "allOf": " and "}
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


@attrs.frozen
class TypePart:
    """A part of the name of a type; ``anchor`` is its description on the page, empty where it has none."""

    text: str
    anchor: str = ""


@attrs.frozen(kw_only=True)
class Value:
    """A parameter, a header, a field of an object, or a whole schema. ``note`` is HTML, here and below."""

    name: str
    kind: tuple[TypePart, ...]
    note: str
    rules: tuple[str, ...] = ()
    example: str = ""
    required: bool = False
    place: str = ""
    fields: tuple["Value", ...] = ()

    @property
    def anchor(self) -> str:
        """The anchor of a schema of this name on the page."""
        return schema_anchor(self.name)


@attrs.frozen(kw_only=True)
class Body:
    """One content type of a request or a reply."""

    content_type: str
    value: Value


@attrs.frozen(kw_only=True)
class ReplyRow:
    """One status with which an operation answers."""

    status: str
    phrase: str
    note: str
    headers: tuple[Value, ...]
    bodies: tuple[Body, ...]


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path. ``link`` opens its answer in the browser; empty where that cannot be."""

    anchor: str
    method: str
    path: str
    link: str
    summary: str
    note: str
    parameters: tuple[Value, ...]
    request: tuple[Body, ...]
    replies: tuple[ReplyRow, ...]


@attrs.frozen(kw_only=True)
class OperationGroup:
    """The operations of one tag."""

    name: str
    note: str
    operations: tuple[Operation, ...]


@attrs.frozen(kw_only=True)
class Reference:
    """The whole page."""

    title: str
    version: str
    note: str
    groups: tuple[OperationGroup, ...]
    schemas: tuple[Value, ...]


def schema_anchor(name: str) -> str:
    """Return the anchor of a schema of the document."""
    return f"schema-{name}"


def reference(document: Node) -> Reference:
    """Return what the page shows of a document: all of its operations, by tag, and all of its schemas."""
    reader = _Reader(document)
    info = document["info"]
    return Reference(
        title=info["title"],
        version=info["version"],
        note=_text(info),
        groups=tuple(reader.group(tag) for tag in document["tags"]),
        schemas=tuple(reader.value(name, schema) for name, schema in document["components"]["schemas"].items()),
    )


@attrs.frozen
class _Reader:
    document: Node

    def group(self, tag: Node) -> OperationGroup:
        operations = (
            self.operation(method, path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if tag["name"] in operation["tags"]
        )
        return OperationGroup(name=tag["name"], note=_text(tag), operations=tuple(operations))

    def operation(self, method: str, path: str, operation: Node) -> Operation:
        parameters = [self.resolved(parameter) for parameter in operation.get("parameters", ())]
        streams = any(
            "text/event-stream" in self.resolved(r).get("content", ()) for r in operation["responses"].values()
        )
        return Operation(
            anchor=operation["operationId"],
            method=method.upper(),
            path=path,
            link=path if method == "get" and "{" not in path and not streams else "",
            summary=operation["summary"],
            note=_text(operation),
            parameters=tuple(map(self.parameter, parameters)),
            request=tuple(self.bodies(self.resolved(operation.get("requestBody", {})))),
            replies=tuple(self.reply(status, node) for status, node in operation["responses"].items()),
        )

    def parameter(self, parameter: Node) -> Value:
        value = self.value(parameter["name"], parameter["schema"], required=parameter.get("required", False))
        return attrs.evolve(value, place=parameter["in"], note=_text(parameter) or value.note)

    def reply(self, status: str, node: Node) -> ReplyRow:
        reply = self.resolved(node)
        headers = {name: self.resolved(header) for name, header in reply.get("headers", {}).items()}
        return ReplyRow(
            status=status,
            phrase=HTTPStatus(int(status)).phrase,
            note=_text(reply),
            headers=tuple(
                attrs.evolve(self.value(name, header["schema"]), note=_text(header)) for name, header in headers.items()
            ),
            bodies=tuple(self.bodies(reply)),
        )

    def bodies(self, holder: Node) -> Iterator[Body]:
        for content_type, media in holder.get("content", {}).items():
            yield Body(content_type=content_type, value=self.value("", media["schema"]))

    def value(self, name: str, schema: Node, *, required: bool = False) -> Value:
        examples = schema.get("examples", ())
        return Value(
            name=name,
            kind=tuple(_kind(schema)),
            note=_text(schema),
            rules=tuple(words.format(schema[rule]) for rule, words in _RULES.items() if rule in schema),
            example=_example(examples[0]) if examples else "",
            required=required,
            fields=tuple(self.fields(schema)),
        )

    def fields(self, schema: Node) -> Iterator[Value]:
        """Yield the fields of an object that has no name of its own, also where it is the item of an array."""
        if "$ref" in schema:
            return
        inner = schema.get("items", schema)
        if "$ref" in inner:
            return
        properties, required = dict[str, Node](), set[str]()
        for part in (*map(self.resolved, inner.get("allOf", ())), inner):
            properties |= part.get("properties", {})
            required |= set(part.get("required", ()))
        for name, field in properties.items():
            yield self.value(name, field, required=name in required)

    def resolved(self, node: Node) -> Node:
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node


def _kind(schema: Node) -> Iterator[TypePart]:
    """Yield the name of a schema's type."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield TypePart(name, schema_anchor(name))
        return
    for word, joint in _JOINED.items():
        if word in schema:
            yield from _joined(schema[word], joint)
            return
    if "enum" in schema:
        yield TypePart(" | ".join(map(str, schema["enum"])))
    elif "const" in schema:
        yield TypePart(str(schema["const"]))
    else:
        yield from _plain_kind(schema)


def _plain_kind(schema: Node) -> Iterator[TypePart]:
    types = schema.get("type", "any value")
    name = " or ".join(types) if isinstance(types, list) else types
    if "items" in schema:
        yield TypePart(f"{name} of ")
        yield from _kind(schema["items"])
    elif isinstance(schema.get("additionalProperties"), dict) and "properties" not in schema:
        yield TypePart(f"{name} of ")
        yield from _kind(schema["additionalProperties"])
    else:
        yield TypePart(f"{name}, {schema['format']}" if "format" in schema else name)


def _joined(schemas: Iterable[Node], joint: str) -> Iterator[TypePart]:
    for number, schema in enumerate(schemas):
        if number:
            yield TypePart(joint)
        yield from _kind(schema)


def _example(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, ensure_ascii=False, indent=2)


def _text(node: Node) -> str:
    """Return a description as HTML. HTML in it is shown as text."""
    return str(_MARKDOWN.render(node.get("description", ""))).strip()
