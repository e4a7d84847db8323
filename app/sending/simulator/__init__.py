"""A made-up match with a believable course, by published figures (``docs/SIMULATOR.md``).

The teams (:mod:`.teams`) play (:mod:`.play`) and the fans (:mod:`.fans`) react; :mod:`.match` puts them together. Pure:
a random number generator in, events out; no clock, no network. The same seed gives the same match.
"""

from app.sending.simulator.match import Moment, simulate_match
from app.sending.simulator.teams import Team, draw_teams

__all__ = ["Moment", "Team", "draw_teams", "simulate_match"]
