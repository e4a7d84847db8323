"""The states in which a power failure may leave the files, by two models of a file system.

A `Disk` takes the operations that the recorder noted, one after the other, and gives at any point the states that may
be found after a power failure at that moment.

**posix**: only what is promised.

- Of a file, what was synced is there. Each 512-byte sector that was written since is old, new, or torn in its middle;
  a sector that is new to the file may be zero. The file has its old size, its new one, or any between.
- A name is there, or gone, once its directory was synced. Until then each name is old or new by itself, so a file that
  was renamed may have both names, or none. A file's sync says nothing of its name.

**ext4** with ``data=ordered``: what that file system does beyond it.

- Names are made, changed and removed in order: a state holds all up to some moment. A sync of a file or a directory
  brings along every change of names up to the last change of that file or directory.
- Size follows data: bytes that were appended are there up to some sector, or up to the end of some write.

In both, **a sync that fails** makes its pages clean: what they hold may be on the disk or not, and no later sync
changes that, unless the same sectors are written again. A sync of a directory that fails counts as one that was not
asked for, because nothing could be done about names otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Literal

import attrs

from tests.syscalls import Operation

SECTOR = 512
State = Mapping[str, bytes | None]
"""A tree of files: contents by path from the root; None: a directory."""
Model = Literal["posix", "ext4"]
MODELS: tuple[Model, ...] = ("posix", "ext4")


@attrs.define(eq=False)
class _File:
    """One file, whatever its names.

    Attributes:
        now: contents as a process sees them.
        doubts: by sector, the values that the disk may hold, oldest first, each filled up with zeros.
        new: sectors that the file has never had on disk.
        cleaned: sectors that a failed sync left, and that were not written again.
        sizes: sizes that it may have on disk, oldest first.
        resized: whether its size changed since it was last synced, with or without success.
        changed, grown: number of the operation that last changed it, and its size.
    """

    now: bytearray
    doubts: dict[int, list[bytes]] = attrs.field(factory=dict)
    new: set[int] = attrs.field(factory=set)
    cleaned: set[int] = attrs.field(factory=set)
    sizes: list[int] = attrs.field(factory=list)
    resized: bool = False
    changed: int = 0
    grown: int = 0

    def _sector(self, number: int) -> bytes:
        return bytes(self.now[number * SECTOR : (number + 1) * SECTOR]).ljust(SECTOR, b"\0")

    def _change(self, sectors: range, change: Callable[[], None]) -> None:
        durable = -(-self.sizes[0] // SECTOR)
        for number in sectors:
            if number not in self.doubts:
                self.doubts[number] = [self._sector(number)]
                if number >= durable:
                    self.new.add(number)
        change()
        for number in sectors:
            if self.doubts[number][-1] != (value := self._sector(number)):
                self.doubts[number].append(value)

    def write(self, offset: int, data: bytes, count: int) -> None:
        end = offset + len(data)

        def change() -> None:
            self.now.extend(bytes(max(0, end - len(self.now))))
            self.now[offset:end] = data

        sectors = range(min(offset, len(self.now)) // SECTOR, -(-end // SECTOR))
        before = len(self.now)
        self._change(sectors, change)
        self.cleaned -= set(sectors)
        self.changed = count
        self._note_size(before, count)

    def truncate(self, size: int, count: int) -> None:
        before = len(self.now)
        first, last = sorted((before, size))

        def change() -> None:
            del self.now[size:]
            self.now.extend(bytes(size - len(self.now)))

        self._change(range(first // SECTOR, -(-last // SECTOR)), change)
        self.changed = count
        self._note_size(before, count)

    def _note_size(self, before: int, count: int) -> None:
        if len(self.now) != before:
            self.sizes.append(len(self.now))
            self.resized = True
            self.grown = count

    def sync(self) -> None:
        size = len(self.now)
        cleared = self.doubts.keys() - self.cleaned
        self.doubts = {number: values for number, values in self.doubts.items() if number in self.cleaned}
        self.new &= self.cleaned
        if self.resized or not self.cleaned:
            self.sizes = [size]
        else:  # the size of before the failure may stand, but not below what was written now
            floor = max((min(size, (number + 1) * SECTOR) for number in cleared), default=0)
            self.sizes = [*(one for one in self.sizes if floor <= one < size), size]
        self.resized = False
        if len(self.sizes) == 1:
            self.cleaned = {number for number in self.cleaned if number * SECTOR < size}
            self.doubts = {number: self.doubts[number] for number in self.cleaned}

    def fail_sync(self) -> None:
        self.cleaned |= self.doubts.keys()
        self.resized = False


@attrs.define(eq=False)
class _Directory:
    """One directory: its names as a process sees them, as they are on disk, and (posix) those in doubt."""

    now: "dict[str, _Node]" = attrs.field(factory=dict)
    disk: "dict[str, _Node]" = attrs.field(factory=dict)
    doubts: "dict[str, list[_Node | None]]" = attrs.field(factory=dict)
    changed: int = 0


_Node = _File | _Directory


@attrs.frozen
class _Change:
    """A change of one name, by the operation ``count``."""

    count: int
    directory: _Directory
    name: str
    node: "_Node | None"


Choose = Callable[[int], int]
"""Return an index below the number of options; 0 is the oldest option, the last is what a process sees now."""


class Disk:
    """A file system that takes operations, and tells in which states a power failure may leave it."""

    def __init__(self, base: State, model: Model) -> None:
        """Begin with what is on disk, all of it durable."""
        self._model = model
        self._count = 0
        self._root = _Directory()
        self._files: dict[int, _Node] = {}
        self._journal: list[_Change] = []
        for path, content in sorted(base.items()):
            node = _Directory() if content is None else _File(bytearray(content), sizes=[len(content)])
            directory, name = self._place(path)
            directory.now[name] = directory.disk[name] = node

    def take(self, operation: Operation) -> None:
        """Carry out one operation."""
        self._count += 1
        node = self._files.get(operation.file)
        if operation.error:
            if operation.call in ("fsync", "fdatasync") and isinstance(node, _File):
                node.fail_sync()
            return
        match operation.call:
            case "create":
                self._files[operation.file] = self._set(operation.path, _File(bytearray(), sizes=[0]))
            case "open":
                self._files[operation.file] = node = self._at(operation.path)
                if operation.mode == "cut" and isinstance(node, _File):
                    node.truncate(0, self._count)
            case "mkdir":
                self._set(operation.path, _Directory())
            case "write":
                assert isinstance(node, _File)
                node.write(operation.offset, operation.data, self._count)
            case "truncate":
                node = node or self._at(operation.path)
                assert isinstance(node, _File)
                node.truncate(operation.size, self._count)
            case "rename":
                self._set(operation.target, self._at(operation.path))
                self._set(operation.path, None)
            case "link":
                self._set(operation.target, self._at(operation.path))
            case "unlink" | "rmdir":
                self._set(operation.path, None)
            case "fsync" | "fdatasync":
                assert node is not None
                self._sync(node, size_only=operation.call == "fdatasync")

    def _place(self, path: str) -> tuple[_Directory, str]:
        *parents, name = path.split("/")
        directory = self._root
        for parent in parents:
            found = directory.now[parent]
            assert isinstance(found, _Directory)
            directory = found
        return directory, name

    def _at(self, path: str) -> _Node:
        if path == ".":
            return self._root
        directory, name = self._place(path)
        return directory.now[name]

    def _set(self, path: str, node: _Node | None) -> _Node:
        """Give a name to a node, or take it away."""
        directory, name = self._place(path)
        before = directory.now.get(name)
        directory.doubts.setdefault(name, [before]).append(node)
        self._journal.append(_Change(self._count, directory, name, node))
        for one in (directory, before, node):
            if one is not None:
                one.changed = self._count
        if node is None:
            del directory.now[name]
            return directory
        directory.now[name] = node
        return node

    def _sync(self, node: _Node, *, size_only: bool) -> None:
        if isinstance(node, _File):
            upto = node.grown if size_only else node.changed
            node.sync()
        else:
            upto = node.changed
            node.doubts.clear()
        while self._journal and self._journal[0].count <= upto:
            change = self._journal.pop(0)
            _note(change.directory.disk, change.name, change.node)

    @property
    def now(self) -> State:
        """The tree as a process sees it."""
        return dict(_tree(self._root, "", lambda directory: directory.now, lambda file: bytes(file.now)))

    def build(self, choose: Choose) -> State:
        """Return the state that a sequence of choices leads to."""
        if self._model == "posix":
            return dict(_tree(self._root, "", lambda one: _names(one, choose), lambda one: _posix(one, choose)))
        names: dict[int, dict[str, _Node]] = {}
        moments = [0, *(n for n in range(1, len(self._journal)) if _ends_operation(self._journal, n))]
        moments += [len(self._journal)] if self._journal else []
        for change in self._journal[: moments[choose(len(moments))]]:
            entries = names.setdefault(id(change.directory), dict(change.directory.disk))
            _note(entries, change.name, change.node)
        return dict(_tree(self._root, "", lambda one: names.get(id(one), one.disk), lambda one: _ext4(one, choose)))

    def oldest(self) -> State:
        """Return the state that holds only what must be there."""
        return self.build(lambda _: 0)

    def all_states(self, *, limit: int) -> tuple[list[State], bool]:
        """Return every state, and True; or the first ``limit`` of them, and False."""
        states: list[State] = []
        path: list[list[int]] = []
        while len(states) < limit:
            states.append(self.build(_Replay(path)))
            while path and path[-1][0] + 1 == path[-1][1]:
                path.pop()
            if not path:
                return states, True
            path[-1][0] += 1
        return states, False

    def some_states(self, chance: Random, *, count: int) -> Iterator[State]:
        """Yield states at random: those with everything old or new often, all others sometimes."""
        for _ in range(count):
            old, new = chance.choice(((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.3, 0.3), (0.9, 0.05), (0.05, 0.9)))
            yield self.build(lambda options, old=old, new=new: _drawn(chance, options, old, new))


def _drawn(chance: Random, options: int, old: float, new: float) -> int:
    drawn = chance.random()
    return 0 if drawn < old else options - 1 if drawn < old + new else chance.randrange(options)


@attrs.define
class _Replay:
    """Makes the choices of a path, each with the number of its options, and the first one behind its end."""

    path: list[list[int]]
    at: int = 0

    def __call__(self, options: int) -> int:
        if self.at == len(self.path):
            self.path.append([0, options])
        self.at += 1
        return self.path[self.at - 1][0]


def _note(entries: dict[str, _Node], name: str, node: _Node | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _ends_operation(journal: Sequence[_Change], number: int) -> bool:
    """Whether the first ``number`` changes are whole operations: both names of a rename change at once."""
    return journal[number - 1].count != journal[number].count


def _tree(
    directory: _Directory,
    prefix: str,
    names: Callable[[_Directory], Mapping[str, _Node]],
    content: Callable[[_File], bytes],
) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted(names(directory).items()):
        if isinstance(node, _File):
            yield prefix + name, content(node)
        else:
            yield prefix + name, None
            yield from _tree(node, f"{prefix}{name}/", names, content)


def _names(directory: _Directory, choose: Choose) -> Mapping[str, _Node]:
    entries = dict(directory.now)
    for name, nodes in directory.doubts.items():
        options = _from_oldest_to_now(nodes)
        _note(entries, name, options[choose(len(options))] if len(options) > 1 else options[0])
    return entries


def _from_oldest_to_now(values: Sequence[Any]) -> list[Any]:
    """Return values without repetitions, but with the oldest first and the present one last."""
    middle = [value for value in dict.fromkeys(values[1:-1]) if value not in (values[0], values[-1])]
    return [values[0], *middle, *(values[-1:] if middle or values[-1] != values[0] else ())]


def _posix(file: _File, choose: Choose) -> bytes:
    if not file.doubts and len(file.sizes) < 2:
        return bytes(file.now)
    return _assembled(file, _chosen_size(file, choose), choose, lambda number, values: _torn(file, number, values))


def _ext4(file: _File, choose: Choose) -> bytes:
    if not file.doubts and len(file.sizes) < 2:
        return bytes(file.now)

    def values_of(number: int, values: Sequence[bytes]) -> Sequence[bytes]:
        if number in file.cleaned:
            return _torn(file, number, values)
        return values[-1:] if number in file.new else values

    return _assembled(file, _chosen_size(file, choose), choose, values_of)


def _chosen_size(file: _File, choose: Choose) -> int:
    least, most = min(file.sizes), max(file.sizes)
    bounds = range((least // SECTOR + 1) * SECTOR, most, SECTOR)
    sizes = _from_oldest_to_now([file.sizes[0], *bounds, *file.sizes])
    return sizes[choose(len(sizes))] if len(sizes) > 1 else sizes[0]


def _torn(file: _File, number: int, values: Sequence[bytes]) -> Sequence[bytes]:
    """Return all that a sector may hold: its values, zeros where it is new, and the last value torn in its middle."""
    older = ([bytes(SECTOR)] if number in file.new else []) + list(values[:-1])
    old, new = (older or values)[-1], values[-1]
    different = [at for at in range(SECTOR) if old[at] != new[at]]
    middle = different[len(different) // 2] if different else 0
    return list(dict.fromkeys((*older, new[:middle] + old[middle:], new)))


def _assembled(
    file: _File, size: int, choose: Choose, values_of: Callable[[int, Sequence[bytes]], Sequence[bytes]]
) -> bytes:
    content = bytearray(file.now[:size].ljust(size, b"\0"))
    for number in _within(file.doubts, size):
        values = values_of(number, file.doubts[number])
        value = values[choose(len(values))] if len(values) > 1 else values[0]
        content[number * SECTOR : (number + 1) * SECTOR] = value
    return bytes(content[:size])


def _within(sectors: Iterable[int], size: int) -> list[int]:
    return sorted(number for number in sectors if number * SECTOR < size)
