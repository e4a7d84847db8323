"""What strace saw of a process: the calls that change the files under a directory, as the recorder would note them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

CALLS = (
    *("open", "openat", "creat", "write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "sync_file_range"),
    *("truncate", "ftruncate", "fallocate", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "symlink", "symlinkat", "close", "copy_file_range", "sendfile"),
)
NAMES = {"creat": "openat", "open": "openat", "pwrite64": "write", "ftruncate": "truncate", "renameat": "rename"}
NAMES |= {"renameat2": "rename", "linkat": "link", "unlinkat": "unlink", "mkdirat": "mkdir"}

Seen = tuple[str, str, str, bytes, bool]
"""Call, path from the directory, other path, bytes written, whether it failed."""

_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_UNFINISHED = re.compile(r"(?P<start>.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<end>.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_OPEN_PATH = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


def traced(command: list[str], output: Path) -> str:
    """Run a command under strace, with all its threads; return its standard output. The trace is in ``output``."""
    strace = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={','.join(CALLS)}", "-o", str(output)]
    return subprocess.run([*strace, *command], check=True, capture_output=True, text=True, timeout=100).stdout


def calls_in(trace: str, directory: Path) -> list[Seen]:
    """Return the calls that changed or synced files of a directory; opened for reading only does not count."""
    return [seen for line in _whole_lines(trace) if (seen := _seen(line, f"{directory}")) is not None]


def _whole_lines(trace: str) -> Iterator[str]:
    """Yield each call at its end, also one that another thread interrupted."""
    started: dict[str, str] = {}
    for line in trace.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        pid, rest = found["pid"], found["rest"]
        if unfinished := _UNFINISHED.fullmatch(rest):
            started[pid] = unfinished["start"]
        elif resumed := _RESUMED.fullmatch(rest):
            yield started.pop(pid) + resumed["end"]
        else:
            yield rest


def _seen(line: str, directory: str) -> Seen | None:
    call = _CALL.match(line)
    if call is None:
        return None
    name, arguments = NAMES.get(call["name"], call["name"]), call["arguments"]
    texts = [_bytes(text) for text in _TEXT.findall(arguments)]
    opened = _OPEN_PATH.match(arguments)
    paths = [_bytes(opened[1])] if opened else texts
    names = [_below(path.decode(), directory) for path in paths if path is not None]
    if not names or names[0] is None:
        return None
    failed = call["result"].startswith("-")
    if name == "openat":
        if not re.search("O_WRONLY|O_RDWR|O_CREAT", arguments):
            return None
        name = "open"
    data = texts[0][: int(call["result"])] if name == "write" and not failed else b""
    return name, names[0], (names[1] or "") if len(names) > 1 else "", data, failed


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _below(path: str, directory: str) -> str | None:
    path = path.removesuffix(" (deleted)")
    if path == directory:
        return "."
    return path.removeprefix(f"{directory}/") if path.startswith(f"{directory}/") else None
