"""Recovery of a state by the real code: what the first start tells, and whether later ones tell the same."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.power.disk import Disk, State
from tests.power.promises import Wrong, differences
from tests.power.service import Service, View
from tests.syscalls import Recorder


@contextmanager
def quick_directory() -> Iterator[Path]:
    """A directory in memory, where there is such a file system; gone afterwards."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="power-", dir=parent) as directory:
        yield Path(directory)


def write_state(state: State, root: Path) -> None:
    """Write a tree of files; what was there before is gone."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir()
    for path, content in sorted(state.items()):
        if content is None:
            root.joinpath(path).mkdir()
        else:
            fd = os.open(f"{root}/{path}", os.O_WRONLY | os.O_CREAT, 0o640)
            os.write(fd, content)
            os.close(fd)


KNOWN_MAX = 20_000
"""States of which is remembered what they gave."""

_Key = tuple[tuple[str, bytes | None], ...]


@attrs.frozen
class Recovered:
    """What the first start told of a state; None: it was refused. And what is wrong whatever was promised."""

    view: View | None
    wrong: tuple[Wrong, ...]


@attrs.define
class Starts:
    """Starts on states, each state once: what a start tells follows from the state alone.

    Attributes:
        states: how many states were recovered.
        starts: how many starts that took.
    """

    root: Path
    shards: int
    states: int = 0
    starts: int = 0
    _known: dict[_Key, Recovered] = attrs.field(factory=dict)
    _views: dict[_Key, "View | str"] = attrs.field(factory=dict)

    def of(self, state: State) -> Recovered:
        """Start on a state, a second time behind that, and once more after a power failure in between."""
        key = _key(state)
        found = self._known.get(key)
        if found is None:
            if len(self._known) > KNOWN_MAX:
                self._known.clear()
                self._views.clear()
            found = self._known[key] = self._recover(state)
            self.states += 1
        return found

    def _recover(self, state: State) -> Recovered:
        write_state(state, self.root)
        with Recorder(self.root) as calls:
            first = self._start()
        if isinstance(first, str):
            return Recovered(None, (("refused", first),))
        disk = Disk(state, "posix")
        for operation in calls.operations:
            disk.take(operation)
        wrong = list(self._compare(first, disk.now, "a second start"))
        if (oldest := disk.oldest()) != disk.now:
            wrong += self._compare(first, oldest, "a start after power failed once more")
        return Recovered(first, tuple(dict.fromkeys(wrong)))

    def _compare(self, first: View, state: State, when: str) -> Iterator[Wrong]:
        key = _key(state)
        second = self._views.get(key)
        if second is None:
            write_state(state, self.root)
            second = self._views[key] = self._start()
        if isinstance(second, str):
            yield "refused", f"{when}: {second}"
        else:
            yield from ((kind, f"{when}: {what}") for kind, what in differences(first, second))

    def _start(self) -> View | str:
        """Start and close; return what was told, or why the start was refused."""
        self.starts += 1
        service = Service(self.root, shards=self.shards)
        try:
            return service.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the service does not start
            return f"{type(error).__name__}: {error}"
        finally:
            service.close()


def _key(state: State) -> _Key:
    return tuple(sorted(state.items()))
