"""What the page of the API shows, from documents of a few lines."""

from typing import Any

from app.openapi.document import document
from app.openapi.reference import Operation, TypePart, Value, reference, schema_anchor


def shown(schemas: dict[str, Any], **operation: Any) -> tuple[Operation, dict[str, Value]]:
    defaults = {"operationId": "it", "tags": ["t"], "summary": "S.", "responses": {"200": {"description": "Yes."}}}
    page = reference(
        {
            "info": {"title": "T", "version": "1"},
            "tags": [{"name": "t"}],
            "paths": {"/things": {"get": defaults | operation}},
            "components": {"schemas": schemas},
        }
    )
    return page.groups[0].operations[0], {schema.name: schema for schema in page.schemas}


def text(value: Value) -> str:
    return "".join(piece.text for piece in value.kind)


def test_kinds_are_named_as_people_say_them() -> None:
    kinds: dict[str, tuple[dict[str, Any], str]] = {
        "a": ({"type": "string", "format": "uuid"}, "string, uuid"),
        "b": ({"type": ["string", "null"]}, "string or null"),
        "c": ({"enum": ["x", "y"]}, "x | y"),
        "d": ({"const": "z"}, "z"),
        "e": ({"type": "array", "items": {"$ref": "#/components/schemas/a"}}, "array of a"),
        "f": ({"anyOf": [{"$ref": "#/components/schemas/a"}, {"type": "null"}]}, "a or null"),
        "g": ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        "h": ({}, "any value"),
    }
    _, schemas = shown({name: schema for name, (schema, _) in kinds.items()})
    assert {name: text(schema) for name, schema in schemas.items()} == {
        name: words for name, (_, words) in kinds.items()
    }
    assert schemas["e"].kind == (TypePart("array of "), TypePart("a", schema_anchor("a")))


def test_fields_of_parts_and_of_items_are_shown_with_what_is_required() -> None:
    base = {
        "type": "object",
        "required": ["x"],
        "properties": {"x": {"type": "string", "minLength": 2, "default": "no"}},
    }
    items = {"type": "array", "items": {"type": "object", "properties": {"y": {"type": "integer"}}}}
    _, schemas = shown(
        {
            "base": base,
            "whole": {"allOf": [{"$ref": "#/components/schemas/base"}], "properties": {"z": {}}},
            "items": items,
        }
    )
    assert [(field.name, field.required) for field in schemas["whole"].fields] == [("x", True), ("z", False)]
    assert schemas["whole"].fields[0].rules == ("at least 2 characters", "default no")
    assert [field.name for field in schemas["items"].fields] == ["y"]


def test_descriptions_are_markdown_and_hold_no_html() -> None:
    operation, _ = shown({}, description="Use `x`:\n\n- one\n- <script>two</script>")
    assert (
        operation.note
        == "<p>Use <code>x</code>:</p>\n<ul>\n<li>one</li>\n<li>&lt;script&gt;two&lt;/script&gt;</li>\n</ul>"
    )


def test_answers_that_can_be_looked_at_at_once_are_links() -> None:
    assert shown({})[0].link == "/things"
    stream = {"200": {"description": "", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
    assert shown({}, responses=stream)[0].link == ""


def test_the_whole_document_is_shown_and_every_link_leads_somewhere() -> None:
    page = reference(document())
    shown_operations = {(it.method.lower(), it.path) for group in page.groups for it in group.operations}
    assert shown_operations == {(method, path) for path, item in document()["paths"].items() for method in item}
    assert {schema.name for schema in page.schemas} == set(document()["components"]["schemas"])
    anchors = {schema.anchor for schema in page.schemas}

    def check(value: Value) -> None:
        assert {piece.anchor for piece in value.kind} <= anchors | {""}
        for field in value.fields:
            check(field)

    for schema in page.schemas:
        check(schema)
    for operation in (it for group in page.groups for it in group.operations):
        bodies = [*operation.request, *(body for reply in operation.replies for body in reply.bodies)]
        for value in (*operation.parameters, *(body.value for body in bodies)):
            check(value)
