"""The columns of ``events`` that ClickHouse makes of the others of a row; nobody inserts them.

- ``texts``: the texts that are read of highlights, and of rows that replace another event; empty in all other rows, so
  that a read of a match does not take these texts from every event.
- ``highlight``: the same of the types that the release before told of, which still reads it.
- ``target``: the event that a retraction withdraws, or that a row replaces; the nil UUID in all other rows.
- ``momentum``: weight of the event in whole thousandths, so that sums are exact.

Expressions are written as ClickHouse prints them. Functions that each ClickHouse prints alike are used, so no ``IN``;
parentheses differ, and are not compared. ``transform`` is used for sets of types, because it looks at each type of a
block once, and ``has`` at each row.
"""

from shards.events import HIGHLIGHT_TYPES

_TEXTS = "concat(metadata, '\\0', player_id)"
# JSON holds no NUL, so the first NUL ends the metadata, whatever the player's id is.
_HIGHLIGHTS_BEFORE = HIGHLIGHT_TYPES[:13]
_HIGHLIGHT_COLUMN = f"String MATERIALIZED if(has({list(_HIGHLIGHTS_BEFORE)!r}, event_type), {_TEXTS}, '')"

WEIGHTS = {
    "goal": 9_000,
    "penalty": 8_000,
    "shot": 7_000,
    "corner": 4_000,
    "free_kick": 1_500,
    "dribble": 1_000,
    "recovery": 600,
    "carry": 350,
    "pass": 250,
}
"""Weights of events at the goal that is attacked, in thousandths; 0 for all other types.

At ``x`` from 0 (the own goal) to 100 the weight is (50 + x / 2) hundredths of it. An event without a readable ``x``
counts as in the middle, one beyond the pitch as at its edge.
"""


def _may_have(key: str) -> str:
    """Return the condition that the metadata may have a key: JSON is read only where it holds, because that is slow.

    A backslash may spell the key in another way.
    """
    return f"multiSearchAny(metadata, ['\"{key}\"', '\\\\u'])"


def _named(key: str) -> str:
    """Return the id under a key of the metadata; the spellings are those that uuid.UUID() reads."""
    text = f"replaceRegexpAll(JSONExtractString(metadata, '{key}'), 'urn:|uuid:', '')"
    return f"toUUIDOrZero(lower(replaceRegexpAll({text}, '^[{{}}]+|[{{}}]+$|-', '')))"


_TARGET_COLUMN = (
    f"UUID MATERIALIZED multiIf(event_type = 'retraction', {_named('eventId')}, "
    f"{_may_have('replaces')}, {_named('replaces')}, toUUIDOrZero(''))"
)
_TYPES = list(HIGHLIGHT_TYPES)
_TEXTS_COLUMN = (
    f"String MATERIALIZED multiIf(notEmpty(transform(event_type, {_TYPES!r}, {_TYPES!r}, '')), {_TEXTS}, "
    f"{_may_have('replaces')}, if(JSONHas(metadata, 'replaces'), {_TEXTS}, ''), '')"
)
_NUMBER = "JSONExtract(metadata, 'x', 'Nullable(Float64)')"
_X = f"if({_may_have('x')}, ifNull(if(isFinite({_NUMBER}), {_NUMBER}, NULL), 50), 50)"
_WEIGHT = f"transform(event_type, {list(WEIGHTS)!r}, {list(WEIGHTS.values())!r}, 0)"
_MOMENTUM_COLUMN = (
    f"Int32 MATERIALIZED if({_WEIGHT} = 0, 0, toInt32(({_WEIGHT} * (50 + (least(greatest({_X}, 0), 100) / 2))) / 100))"
)
DERIVED = {
    "highlight": _HIGHLIGHT_COLUMN,
    "target": _TARGET_COLUMN,
    "momentum": _MOMENTUM_COLUMN,
    "texts": _TEXTS_COLUMN,
}
"""The columns' types and expressions, by name."""


def derived_from_row(name: str) -> str:
    """Return the expression for a derived column, for rows that are not in the table yet."""
    return DERIVED[name].partition("MATERIALIZED ")[2]
