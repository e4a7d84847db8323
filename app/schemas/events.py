"""From the JSON text of one event to an `Event`, by all the rules of an event."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import msgspec
import uuid_utils
from cattrs import ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, override

from app.access.principal import ANYBODY, Principal
from app.schemas.event_types import EventTypes
from app.schemas.faults import Fault, FieldError, InvalidEventError
from app.schemas.fields import (
    NO_EVENT_ID,
    NO_IDENTIFIER,
    NO_TIMESTAMP,
    EventId,
    EventType,
    Identifier,
    MatchId,
    Timestamp,
    event_type_parser,
    is_absent,
    is_object_or_absent,
    names_nobody,
    parse_event_id,
    parse_identifier,
    parse_match_id,
    text_of,
    timestamp_parser,
)
from app.schemas.metadata import (
    EMPTY,
    Metadata,
    check_readable,
    check_retraction,
    may_replace,
    parse_metadata,
    replacement_faults,
    with_unmapped,
)
from app.schemas.senders import forbidden
from app.times import iso_ms
from shards import RETRACTION, Event, ReceiptClock

ID_NAMESPACE = uuid_utils.UUID("7f1f7f0e-5a6b-5c0e-9d57-0c4b8f3e9a11")
"""Namespace of ids made from an `Idempotency-Key`. It must never change: re-sent requests rely on it."""

_UNPAIRED_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


@attrs.frozen(kw_only=True)
class IncomingEvent:
    """One event as a client sends it, parsed field by field; `_NAMES` gives the names on the wire."""

    match_id: MatchId
    event_type: EventType
    event_id: EventId = NO_EVENT_ID
    timestamp: Timestamp = NO_TIMESTAMP
    team_id: Identifier = NO_IDENTIFIER
    player_id: Identifier = NO_IDENTIFIER
    metadata: Metadata = EMPTY


_NAMES = {
    "match_id": "matchId",
    "event_type": "eventType",
    "event_id": "eventId",
    "timestamp": "timestamp",
    "team_id": "teamId",
    "player_id": "playerId",
    "metadata": "metadata",
}
_KNOWN = frozenset(_NAMES.values())
EVENT_MAX_BYTES = 64 << 10
"""The longest text of one event: what may be kept of it is a quarter of that, the rest can only be whitespace and
escapes. Longer ones are refused unread, because a hundred thousand members take a tenth of a second to be read."""

SHORTEST_BYTES = len('{"eventType":"x"}')
"""No event is shorter."""

_BOM = b"\xef\xbb\xbf"

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@attrs.frozen(kw_only=True)
class Origin:
    """The properties that a request gives to all of its events.

    Attributes:
        match_id: the match that the path names, if it names one (already checked).
        idempotency_key: the request's ``Idempotency-Key``, empty where absent.
        sender: who sends it.
    """

    match_id: str | None = None
    idempotency_key: str = ""
    sender: Principal = ANYBODY

    def event_id(self, index: int) -> str:
        """Return the id of an event that was sent without one; ``index`` is its place in the request."""
        if self.idempotency_key:
            return str(uuid_utils.uuid5(ID_NAMESPACE, f"{self.idempotency_key}:{index}"))
        return str(uuid_utils.uuid7())


class EventSchema:
    """Parses events by the rules of the API, for one set of event types."""

    def __init__(
        self,
        *,
        clock: ReceiptClock,
        extra_types: Iterable[str] = (),
        refused_until_ms: Callable[[str], int] = lambda match_id: 0,
    ) -> None:
        """``refused_until_ms`` tells until when a match is refused, ms since the epoch; 0: it is not."""
        self._refused_until_ms = refused_until_ms
        self.types = EventTypes.with_extra(extra_types)
        self._clock = clock
        self._structure = _structure_function(self.types, clock.now_ns, in_detail=False)
        self._structure_in_detail = _structure_function(self.types, clock.now_ns, in_detail=True)

    def parse(self, text: bytes | msgspec.Raw, *, index: int = 0, origin: Origin, explain: bool = True) -> Event:
        """Return the event that ``text`` holds.

        Raises InvalidEventError: with every fault the event has, or, without ``explain``, with none, which takes a
        tenth of the time.
        """
        fields = decode_fields(bytes(text), explain=explain)
        if origin.match_id is not None and is_absent(fields.get("matchId")):
            fields["matchId"] = msgspec.Raw(msgspec.json.encode(origin.match_id))
        incoming, metadata, faults = self._check(fields, index, origin, explain=explain)
        if incoming is None or faults:
            raise InvalidEventError(faults, event_id=_given_id(fields)) if explain else InvalidEventError
        if not origin.sender.sends_all:
            check_sender(origin.sender, incoming, metadata)
        if until_ms := self._refused_until_ms(incoming.match_id):
            raise _of_erased_match(incoming, until_ms)
        received_ns = self._clock.now_ns()
        return Event(
            incoming.match_id,
            incoming.event_id or origin.event_id(index),
            incoming.event_type,
            incoming.timestamp or received_ns // 1_000_000,
            incoming.team_id,
            incoming.player_id,
            metadata,
            received_ns,
            self._clock.order_ns(),
        )

    def _check(
        self, fields: Mapping[str, msgspec.Raw], index: int, origin: Origin, *, explain: bool
    ) -> tuple[IncomingEvent | None, Metadata, list[Fault]]:
        incoming, metadata, faults = None, EMPTY, []
        event_type = text_of(fields.get("eventType")) or ""
        try:
            incoming = self._structure(fields)
        except (KeyError, FieldError):
            if not explain:
                return None, EMPTY, []
            faults = self._faults_of_fields(fields)
        faults += self._rules_across_fields(fields, event_type, origin)
        try:
            metadata = _kept(fields)
            if incoming is not None or is_object_or_absent(fields.get("metadata")):
                faults += _naming_faults(event_type, metadata, lambda: _given_id(fields) or origin.event_id(index))
        except FieldError as fault:
            faults.append(Fault("$.metadata", str(fault)))
        return incoming, metadata, faults

    def _faults_of_fields(self, fields: Mapping[str, msgspec.Raw]) -> list[Fault]:
        try:
            self._structure_in_detail(fields)
        except ClassValidationError as error:
            return _field_faults(error)
        return []

    def _rules_across_fields(self, fields: Mapping[str, msgspec.Raw], event_type: str, origin: Origin) -> list[Fault]:
        faults = []
        if self.types.needs_team(event_type) and names_nobody(fields.get("teamId")):
            faults.append(Fault("$.teamId", f"is required for {event_type}: the team the event belongs to"))
        if event_type == RETRACTION:
            try:
                check_retraction(fields)
            except FieldError as fault:
                faults.append(Fault("$.metadata.eventId", str(fault)))
        if origin.match_id is not None and text_of(fields.get("matchId")) not in (None, origin.match_id):
            faults.append(Fault("$.matchId", "differs from the match in the path; leave it out, or make both agree"))
        return faults


def _of_erased_match(incoming: IncomingEvent, until_ms: int) -> InvalidEventError:
    fault = Fault("$.matchId", f"names a match that was erased, and is refused until {iso_ms(until_ms)}")
    return InvalidEventError([fault], event_id=incoming.event_id or None)


def check_sender(sender: Principal, incoming: IncomingEvent, metadata: Metadata) -> None:
    """Raise InvalidEventError, with faults that forbid, where a valid event is not for its sender to send."""
    faults = forbidden(sender, match_id=incoming.match_id, event_type=incoming.event_type, metadata=metadata)
    if faults:
        raise InvalidEventError(faults, event_id=incoming.event_id or None)


def decode_fields(text: bytes, *, explain: bool = True) -> dict[str, msgspec.Raw]:
    """Return an object's fields as raw JSON; the last one stands where a key is given twice.

    Raises InvalidEventError if the text is not UTF-8, not JSON, nested beyond what can be read, too long, or no object.
    """
    if len(text) > EVENT_MAX_BYTES:
        raise InvalidEventError([Fault("$", f"is longer than the {EVENT_MAX_BYTES} bytes that one event may have")])
    try:
        if not text.isascii():
            text.decode()
        return _decoder.decode(text)
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 (byte {error.start}); encode the body as UTF-8"
    except msgspec.ValidationError:
        message = "must be a JSON object"
    except msgspec.DecodeError as error:
        message = json_fault(text, error) if explain else ""
    except RecursionError:
        message = "is nested too deep to be read"
    raise InvalidEventError([Fault("$", message)]) if explain else InvalidEventError


def json_fault(text: bytes, error: msgspec.DecodeError) -> str:
    """Say what to mend in a text that is not JSON."""
    if text.startswith(_BOM):
        return "begins with a byte order mark (BOM), which only the first line may; leave it out"
    if _UNPAIRED_SURROGATE.search(text):
        return "has an unpaired surrogate escape (as \\ud83d alone); send the whole character"
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except FieldError as fault:
        return str(fault)
    except (ValueError, RecursionError):
        pass
    return f"is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _refuse_constant(name: str) -> None:
    raise FieldError(f"is not valid JSON: {name} is no JSON number; send null or leave the field out")


def _structure_function(
    types: EventTypes, now_ns: Callable[[], int], *, in_detail: bool
) -> Callable[[Mapping[str, msgspec.Raw]], IncomingEvent]:
    converter = Converter(detailed_validation=in_detail)
    converter.register_structure_hook(MatchId, parse_match_id)
    converter.register_structure_hook(EventId, parse_event_id)
    converter.register_structure_hook(EventType, event_type_parser(types))
    converter.register_structure_hook(Identifier, parse_identifier)
    converter.register_structure_hook(Timestamp, timestamp_parser(now_ns))
    converter.register_structure_hook(Metadata, parse_metadata)
    renamed = {name: override(rename=wire_name) for name, wire_name in _NAMES.items()}
    structure = make_dict_structure_fn(IncomingEvent, converter, **renamed)  # type: ignore[arg-type]
    return lambda fields: structure(fields, IncomingEvent)


def _field_faults(error: ClassValidationError) -> list[Fault]:
    faults = []
    for cause, note in error.group_exceptions()[0]:
        message = "is required" if isinstance(cause, KeyError) else str(cause)
        faults.append(Fault(f"$.{_NAMES[note.name]}", message))
    return faults


def _kept(fields: Mapping[str, msgspec.Raw]) -> Metadata:
    unknown = [name for name in fields if name not in _KNOWN]
    return with_unmapped(fields, unknown) if unknown or "metadata" in fields else EMPTY


def _naming_faults(event_type: str, metadata: Metadata, own_id: Callable[[], str]) -> Sequence[Fault]:
    """Return what is wrong with how an event names another one, as ClickHouse reads it. Raises FieldError, too."""
    if event_type == RETRACTION:
        check_readable(metadata, "eventId")
    elif may_replace(metadata):
        return replacement_faults(metadata, own_id=own_id())
    return ()


def _given_id(fields: Mapping[str, msgspec.Raw]) -> str | None:
    raw = fields.get("eventId")
    if raw is None:
        return None
    try:
        return parse_event_id(raw) or None
    except FieldError:
        return None
