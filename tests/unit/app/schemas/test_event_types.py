"""The types of events: the lists of the code, of the OpenAPI document, and of what is stored are one."""

import re

from app.openapi.document import document
from app.schemas.event_types import BUILT_IN_TYPES, FAN_TYPES, MATCH_TYPES, TEAM_TYPES
from shards import HIGHLIGHT_TYPES, RETRACTION
from shards.stores.derived import WEIGHTS


def test_the_document_lists_the_types_in_their_groups() -> None:
    text = document()["components"]["schemas"]["EventFields"]["properties"]["eventType"]["description"]
    listed = [set(group.split()) for group in re.findall(r"events `([^`]+)`", " ".join(text.split()))]
    assert listed == [set(MATCH_TYPES), set(TEAM_TYPES), set(FAN_TYPES)]


def test_the_groups_share_no_type() -> None:
    groups = [MATCH_TYPES, TEAM_TYPES, FAN_TYPES, {RETRACTION}]
    assert sum(map(len, groups)) == len(BUILT_IN_TYPES) == 8 + 32 + 7 + 1


def test_what_is_read_of_types_is_about_types_that_there_are() -> None:
    assert {*HIGHLIGHT_TYPES, *WEIGHTS} <= BUILT_IN_TYPES
