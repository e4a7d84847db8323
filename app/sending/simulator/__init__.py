"""A made-up match with a believable course: the teams play (:mod:`.play`), the fans react (:mod:`.fans`).

Pure: a random number generator in, events out; no clock, no network. The same seed gives the same match.
"""

from app.sending.simulator.match import Moment, match_length_s, simulate_match
from app.sending.simulator.teams import Team, draw_teams

__all__ = ["Moment", "Team", "draw_teams", "match_length_s", "simulate_match"]
