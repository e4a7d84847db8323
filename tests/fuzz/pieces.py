"""Pieces of which requests that mean harm are made; what is long is one of them, over and over."""

from urllib.parse import quote

# fmt: off
ELEMENTS = (
    b"1", b"{}", b"[]", b'""', b"null", b"true", b"-", b"NaN", b"1e999", b"{", b"]", b'"', b'"\\ud800"', b'"\\u0041"',
    b"9" * 40, b'{"a":1}', b'{"":{}}', b"[[1]]", b'{"matchId":"m"}', b'{"matchId":1,"matchId":2}', b"\xff", b"\0",
    b'{"eventType":"x"}', b'{"eventId":"x"}', b'{"eventId":{},"matchId":[],"eventType":1,"timestamp":{},"metadata":1}',
    b'{"matchId":"m","eventType":"pass","teamId":"","playerId":{},"timestamp":"2024-13-45T99:99:99Z","metadata":[]}',
    b'{"matchId":"m","eventType":"goal","teamId":"1","metadata":{"_unmapped":1}}', b'{"timestamp":"2024-01-01"}',
    b'{"matchId":"m","eventType":"retraction","metadata":{"eventId":"x"}}', b'{"a":"\\ud800","b":1e400}',
)
OPENINGS = (
    (b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b'{"metadata":', b"}"), (b"[[],", b"]"),
    (b'{"metadata":{"a":', b"}}"), (b'[1,{"":', b"}]"), (b'{"a":1,"a":', b"}"),
)
STRING_PIECES = (
    b"\\u0041", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b'\\"', b"\\\\", b"\\n", b"\\/", b"a", b"\xc3\xa9",
    b"\xf0\x9f\x98\x80", b"\xff", b"\0", b"\\u0000", b"\\", b"\n", b"\xed\xa0\x80", b"\xe2\x80\x8b", b"'", b"%",
    b"$t$",
)
STRING_PLACES = (
    (b'{"matchId":"', b'","eventType":"cheer"}'), (b'{"matchId":"m","eventType":"', b'"}'), (b'"', b'"'),
    (b'["', b'"]'), (b'{"matchId":"m","eventType":"pass","teamId":"', b'"}'),
    (b'{"matchId":"m","eventType":"cheer","eventId":"', b'"}'),
    (b'{"matchId":"m","eventType":"cheer","timestamp":"', b'"}'), (b'{"', b'":1}'), (b'{"matchId":"', b""),
    (b'{"matchId":"m","eventType":"cheer","metadata":{"a":"', b'"}}'),
    (b'{"matchId":"m","eventType":"cheer","x":"', b'"}'),
    (b'{"matchId":"m","eventType":"cheer","metadata":{"', b'":1}}'),
    (b'{"matchId":"m","eventType":"cheer","', b'":1}'),
)
NUMBER_PLACES = (
    (b"", b""), (b"[", b"]"), (b'{"matchId":"m","eventType":"pass","teamId":', b"}"), (b"[[", b"]]"),
    (b'{"matchId":"m","eventType":"pass","teamId":"1","playerId":', b"}"), (b'{"matchId":"m","eventType":', b"}"),
    (b'{"matchId":"m","eventType":"cheer","metadata":{"minute":', b"}}"),
    (b'{"matchId":"m","eventType":"cheer","x":', b"}"),
    (b'{"matchId":"m","eventType":"goal","teamId":"1","metadata":{"x":', b"}}"),
)
NUMBER_PIECES = (
    b"9", b"0", b"1", b".5", b"e9", b"-", b"0.", b"E+",
)
KEYS = (
    b'"k%d":1', b'"k%d":{}', b'"k%d":"\\ud800"', b'"\\u0041%d":null', b'"%d":[]', b'"metadata%d":{"a":1}',
)
KEYS_AGAIN = (
    b'"teamId":"1"', b'"metadata":{}', b'"metadata":{"a":1}', b'"matchId":"m"', b'"a":1', b'"eventId":"x"', b'"":0',
    b'"eventType":"cheer"', b'"timestamp":"2024-01-01T00:00:00Z"', b'"_unmapped":{}',
)
BLANKS = (
    b"\n", b" ", b"\r\n", b"\t", b" \n", b"\n\n\n\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\xc2\xa0",
    b"\x0b\n",
)
FIELDS = (
    b"Content-Type", b"Content-Encoding", b"Idempotency-Key", b"X-Request-ID", b"If-None-Match", b"If-Match",
    b"Accept", b"Accept-Encoding", b"Accept-Language", b"Last-Event-ID", b"Origin", b"Host", b"Cookie",
    b"Authorization", b"Range", b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range", b"Forwarded",
    b"X-Forwarded-For", b"X-Forwarded-Proto", b"Expect", b"Connection", b"Upgrade", b"TE", b"Trailer",
    b"Transfer-Encoding", b"Via", b"Referer", b"User-Agent", b"Access-Control-Request-Method",
    b"Access-Control-Request-Headers", b"Sec-Fetch-Site", b"X-Any", b"Date", b"Keep-Alive", b"Content-Length",
    b"Content-Disposition", b"Content-Range", b"Sec-WebSocket-Key", b"Proxy-Authorization",
)
FIELD_STARTS = (
    b"", b"application/json", b"application/json;", b"application/json; charset=", b'application/json; a="',
    b"text/html,", b"bytes=", b'W/"', b"gzip, ", b"for=", b"Bearer ", b"Basic ", b"Mon, 01 Jan 2024 ",
    b"multipart/form-data; boundary=", b"http://", b"100-continue", b"application/json; filename*=utf-8''",
)
FIELD_ENDS = (b"", b'"', b"json", b"; charset=utf-8")
FIELD_PIECES = (
    b'"', b"(", b")", b"\\", b'\\"', b";", b",", b"=", b" ", b"\t", b"a", b"\xff", b"\xc3", b"\xe2\x80\xa8", b"%ff",
    b"<", b"[", b'"a",', b'W/"a",', b"a;q=1,", b"*;q=0.1,", b"a=b;", b"gzip,", b"0-1,", b"for=1;", b"(((",
    b"=?utf-8?q?", b"=?utf-8?b?=", b"*0*=a;", b"a*1=b;", b"1", b"9", b"/", b":", b"@", b"\x01", b"\x80", b"'",
    b"utf-8''", b"; charset=",
)
QUERY_NAMES = (
    b"limit", b"cursor", b"type", b"team", b"from", b"to", b"match", b"active", b"axis", b"ack", b"timeout", b"a", b"",
    b"page", b"highlights", b"changes", b"state", b"shard",
)
QUERY_PIECES = (
    b"a", b"%41", b"%00", b"%ff", b"%F0%9F%98%80", b"9", b"-", b"+", b"%", b"%25", b"=", b"a,", b",", b";", b"AAAA",
    b"_-", b"eyJ", b"MTIz", b"%2C", b"'", b"1e", b".", b"T", b":", b"%0a", b"&match=a", b"&type=goal", b"&a", b"&&",
    b"&limit=1",
)
# fmt: on

CURSORS = tuple(
    quote(text).encode()
    for text in (
        "W10=",
        "e30=",
        "bnVsbA==",
        "WzEsMl0=",
        "9" * 400,
        "-1",
        "0-0",
        "1" * 30 + "-1",
        "WyJhIiwgMWU5OTld",
        "====",
    )
)
