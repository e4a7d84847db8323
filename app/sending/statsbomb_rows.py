"""The rows of a StatsBomb event file: what each becomes.

**Rows and what they become** (``a/b``: field ``b`` of the row's part ``a``; the first line that fits counts)

=====================================================  ==================================================
row's ``type.name``                                    event type
=====================================================  ==================================================
``Pass``, ``pass/type.name`` is ``Corner``             ``corner``
``Pass``, ``pass/type.name`` is ``Free Kick``          ``free_kick``
``Pass``, ``pass/type.name`` is ``Throw-in``           ``throw_in``
``Pass``, any other                                    ``pass``
``Shot`` of period 5, ``shot/outcome.name`` ``Goal``   ``shootout_goal``
``Shot`` of period 5, any other                        ``shootout_miss``
``Shot``, ``shot/outcome.name`` is ``Goal``            ``goal`` (and no ``shot``)
``Shot``, any other                                    ``shot``
``Own Goal Against``                                   ``own_goal``, of the team whose player scored it
``Own Goal For``                                       left out: the other row of the same own goal
``Carry``                                              ``carry``
``Pressure``                                           ``pressure``
``Ball Recovery``                                      ``recovery``
``Duel``, ``50/50``                                    ``duel``
``Interception``                                       ``interception``
``Clearance``                                          ``clearance``
``Goal Keeper``                                        ``goalkeeper``
``Dribble``                                            ``dribble``
``Block``                                              ``block``
``Foul Committed``                                     ``foul``
``Bad Behaviour`` with ``bad_behaviour/card``          ``yellow_card`` or ``red_card``, see below
``Bad Behaviour`` without a card                       left out
``Miscontrol``                                         ``miscontrol``
``Substitution``                                       ``substitution``
``Offside``                                            ``offside``
``Injury Stoppage``                                    ``injury``
``Tactical Shift``                                     ``formation_change``
``Half Start``, first row of its period                ``half_start``, without a team
``Half End``, first row of its period                  ``half_end``, without a team
``Half Start``, ``Half End``, later rows               left out: the same, told of the other team
any other (``Ball Receipt*``, ``Foul Won``,            left out: we have no type for it
``Dribbled Past``, ``Dispossessed``, ``Shield``,
``Starting XI``, ``Error``, ``Player Off`` …)
=====================================================  ==================================================
"""

from collections.abc import Mapping
from typing import Any, Final

Row = Mapping[str, Any]
_TYPES: Final = {
    "50/50": "duel",
    "Ball Recovery": "recovery",
    "Block": "block",
    "Carry": "carry",
    "Clearance": "clearance",
    "Dribble": "dribble",
    "Duel": "duel",
    "Foul Committed": "foul",
    "Goal Keeper": "goalkeeper",
    "Injury Stoppage": "injury",
    "Interception": "interception",
    "Miscontrol": "miscontrol",
    "Offside": "offside",
    "Own Goal Against": "own_goal",
    "Pressure": "pressure",
    "Substitution": "substitution",
    "Tactical Shift": "formation_change",
}
_PASS_TYPES: Final = {"Corner": "corner", "Free Kick": "free_kick", "Throw-in": "throw_in"}
CARDS: Final = {"Yellow Card": "yellow_card", "Red Card": "red_card", "Second Yellow": "red_card"}
HALVES: Final = {"Half Start": "half_start", "Half End": "half_end"}
_LEFT_OUT: Final = {
    "Own Goal For": "two rows for one own goal",
    "Bad Behaviour": "no card was shown",
}


def event_type_of(row: Row, halves: set[tuple[str, int]]) -> tuple[str, str]:
    """Return the row's event type and ``""``, or ``""`` and why it is left out; remembers the halves seen."""
    name = row["type"]["name"]
    part = part_of(row)
    if name == "Pass":
        return _PASS_TYPES.get(part.get("type", {}).get("name", ""), "pass"), ""
    if name == "Shot":
        scored = part["outcome"]["name"] == "Goal"
        if row["period"] == 5:
            return ("shootout_goal" if scored else "shootout_miss"), ""
        return ("goal" if scored else "shot"), ""
    if name in HALVES:
        if (name, row["period"]) in halves:
            return "", "the same half, told of the other team"
        halves.add((name, row["period"]))
        return HALVES[name], ""
    if name == "Bad Behaviour" and "card" in part:
        return CARDS[part["card"]["name"]], ""
    return _TYPES.get(name, ""), _LEFT_OUT.get(name, "no event type for it")


def part_of(row: Row) -> Row:
    """Return the part of the row that its type adds, as ``foul_committed``; empty where it adds none."""
    name = row["type"]["name"]
    key = {"Goal Keeper": "goalkeeper", "Tactical Shift": "tactics"}.get(name, name.lower().replace(" ", "_"))
    part: Row = row.get(key, {})
    return part
