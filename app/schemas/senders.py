"""What a sender may not send, although the event is valid."""

import msgspec

from app.access.principal import Principal, Scope
from app.schemas.event_types import FAN_TYPES
from app.schemas.faults import Fault
from app.schemas.metadata import REPLACES, Metadata, may_replace

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def forbidden(sender: Principal, *, match_id: str, event_type: str, metadata: Metadata) -> list[Fault]:
    """Return what a key, or a page of an allowed origin, may not send of a valid event."""
    faults = []
    if not sender.reaches(match_id):
        faults.append(Fault("$.matchId", "is not among the matches that this key is for", forbids=True))
    if not sender.may(Scope.INGEST):
        if event_type not in FAN_TYPES:
            allowed = ", ".join(sorted(FAN_TYPES))
            faults.append(Fault("$.eventType", f"may not be sent with scope react, but: {allowed}", forbids=True))
        elif may_replace(metadata) and REPLACES in _object.decode(metadata):
            faults.append(Fault("$.metadata.replaces", "may not be sent with scope react", forbids=True))
    return faults
