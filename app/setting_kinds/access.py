"""Kinds of settings that say who may do what."""

from pathlib import Path

from app.access.keys import ApiKey, parse_keys
from app.setting_kinds import Kind


class Boolean(Kind[bool]):
    """Yes or no."""

    allowed = "true or false"

    def parse(self, text: str) -> bool:
        """Return the value."""
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"

    def show(self, value: bool) -> str:
        """Return the word."""
        return str(value).lower()


class File(Kind[Path | None]):
    """A file that exists; empty: none."""

    allowed = "empty, or the path of a file that exists"

    def parse(self, text: str) -> Path | None:
        """Return the path, with ``~`` resolved."""
        try:
            path = Path(text).expanduser() if text else None
        except RuntimeError:  # no such user
            raise ValueError(text) from None
        if path is not None and not path.is_file():
            raise ValueError(text)
        return path

    def show(self, value: Path | None) -> str:
        """Return the path; empty where there is none."""
        return str(value or "")


class ApiKeys(Kind[tuple[ApiKey, ...]]):
    """Keys, as they are configured, comma separated."""

    may_hold_secret = True
    allowed = "empty, or lines as fanfinity keys new prints them, comma separated"

    def parse(self, text: str) -> tuple[ApiKey, ...]:
        """Return the keys. Raises KeyLineError, which says what to mend."""
        return parse_keys(text.split(",")) if text else ()

    def show(self, value: tuple[ApiKey, ...]) -> str:
        """Return names and scopes, without the hashes."""
        return ",".join(f"{key.name}:{'+'.join(sorted(key.scopes))}:***" for key in value)
