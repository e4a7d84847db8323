"""The address of a ClickHouse server, as a URL gives it."""

from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

_DEFAULT_PORTS = {"clickhouse": 9000, "clickhouses": 9440}


@attrs.frozen(kw_only=True)
class ServerAddress:
    """The address of a server, and the user. Printed without the password."""

    host: str
    port: int
    user: str = "default"
    password: str = attrs.field(default="", repr=False)
    database: str = "fanfinity"
    secure: bool = False
    verify: bool = True
    ca_certs: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> "ServerAddress":
        """Return the address in ``clickhouse://user:password@host:port/database``, ``clickhouses://`` for TLS.

        The query of a ``clickhouses`` URL may hold ``verify=false`` and ``ca_certs=FILE``.

        Raises:
            ValueError: the URL is none of these; the message does not hold the password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("the host or the port of the URL cannot be read") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError("the URL must begin with clickhouse:// or clickhouses://")
        if not parts.hostname:
            raise ValueError("the URL names no host")
        options = _options_of(parts)
        return cls(
            host=parts.hostname,
            port=port or _DEFAULT_PORTS[parts.scheme],
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")) or "fanfinity",
            secure=parts.scheme == "clickhouses",
            verify=options.get("verify", "true").lower() not in {"false", "0", "no", "off"},
            ca_certs=options.get("ca_certs"),
        )


def _options_of(parts: SplitResult) -> dict[str, str]:
    """Return the options in the URL's query. Raises ValueError for an option that a URL of its scheme lacks."""
    if parts.query and parts.scheme != "clickhouses":
        raise ValueError("only a clickhouses:// URL has options")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - {"verify", "ca_certs"}):
        raise ValueError(f"the URL has an unknown option: {', '.join(unknown)}")
    return options
