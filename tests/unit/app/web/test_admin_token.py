"""The file of the admin token: who can read it, when it is there, and what takes the place of what."""

import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.web.admin_token import FILE_NAME, AdminAccess, AdminToken
from tests.logged import lines_of

URL = "http://127.0.0.1:8080"


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def path_in(directory: Path) -> Path:
    return directory / FILE_NAME


def test_tokens_are_long_and_never_the_same() -> None:
    secrets = {AdminToken.made_for(URL).secret for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(len(secret) >= 160 / 6 and secret.isascii() for secret in secrets)


@pytest.mark.usefixtures("umask")
def test_the_file_is_for_its_owner_whatever_the_umask(tmp_path: Path) -> None:
    token = AdminToken.made_for(URL)
    token.write(tmp_path)
    assert stat.S_IMODE(path_in(tmp_path).stat().st_mode) == 0o600
    assert path_in(tmp_path).read_text() == f"{token.secret}\n{URL}\n"
    assert AdminToken.read(tmp_path) == token


def test_at_no_moment_can_others_read_it_nor_see_half_of_it(tmp_path: Path) -> None:
    """Beside a writer that goes on, every file of the directory is for its owner, and the one of the name is whole."""
    before = os.umask(0)
    AdminToken.made_for(URL).write(tmp_path)
    done = threading.Event()
    seen, wrong = 0, []

    def watch() -> None:
        nonlocal seen
        while not done.is_set():
            for entry in os.scandir(tmp_path):
                try:
                    mode = stat.S_IMODE(entry.stat().st_mode)
                except FileNotFoundError:
                    continue
                if mode & 0o077:
                    wrong.append(f"{entry.name}: {mode:o}")
            AdminToken.read(tmp_path)  # raises where it is not whole
            seen += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        while seen < 300 and watcher.is_alive():
            AdminToken.made_for(URL).write(tmp_path)
    finally:
        done.set()
        watcher.join()
        os.umask(before)
    assert seen >= 300
    assert wrong == []


@pytest.mark.parametrize("mode", [0o644, 0o000])
def test_what_a_killed_process_left_is_replaced(tmp_path: Path, mode: int) -> None:
    for name in (FILE_NAME, f"{FILE_NAME}.new"):
        (tmp_path / name).write_text("old\nhttp://127.0.0.1:1\n")
        (tmp_path / name).chmod(mode)
    token = AdminToken.made_for(URL)
    token.write(tmp_path)
    assert AdminToken.read(tmp_path) == token
    assert stat.S_IMODE(path_in(tmp_path).stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path_in(tmp_path)]


def test_a_link_that_somebody_left_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    for name in (FILE_NAME, f"{FILE_NAME}.new"):
        (tmp_path / name).symlink_to("other")
    AdminToken.made_for(URL).write(tmp_path)
    assert (tmp_path / "other").read_text() == "kept"
    assert not path_in(tmp_path).is_symlink()


@pytest.mark.parametrize(
    "text", ["", "\n", "token\n", "token\nftp://x\n", "a\nhttp://b\nc\n", "\nhttp://b\n", "\xff\n"]
)
def test_what_is_no_token_file_is_not_read_as_one(tmp_path: Path, text: str) -> None:
    path_in(tmp_path).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"token|ascii"):
        AdminToken.read(tmp_path)


def test_the_secret_is_in_no_repr(tmp_path: Path) -> None:
    access = AdminAccess(tmp_path)
    access.open("127.0.0.1", 8080)
    secret = AdminToken.read(tmp_path).secret
    assert secret not in repr(access)
    assert URL in repr(access)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("192.0.2.7", "http://192.0.2.7:80"),
        ("2001:db8::7", "http://[2001:db8::7]:80"),
    ],
)
def test_the_address_is_one_to_reach_it_at(tmp_path: Path, host: str, url: str) -> None:
    AdminAccess(tmp_path).open(host, 80)
    assert AdminToken.read(tmp_path).url == url


def test_it_admits_from_open_to_close_with_one_token(tmp_path: Path) -> None:
    access = AdminAccess(tmp_path)
    assert not access.is_token("")
    access.open("127.0.0.1", 80)
    secret = AdminToken.read(tmp_path).secret
    assert access.is_token(secret)
    assert not access.is_token("")
    assert not access.is_token(secret + secret)
    access.close()
    assert not access.is_token(secret)
    assert not path_in(tmp_path).exists()
    access.close()
    access.open("127.0.0.1", 80)
    assert not access.is_token(secret)


def test_the_file_of_another_process_stays(tmp_path: Path) -> None:
    one, other = AdminAccess(tmp_path), AdminAccess(tmp_path)
    one.open("127.0.0.1", 80)
    other.open("127.0.0.1", 81)
    one.close()
    assert AdminToken.read(tmp_path).url.endswith(":81")
    other.close()
    assert not path_in(tmp_path).exists()


def test_what_was_never_opened_removes_nothing(tmp_path: Path) -> None:
    AdminToken.made_for(URL).write(tmp_path)
    AdminAccess(tmp_path).close()
    assert path_in(tmp_path).exists()


@pytest.mark.parametrize("obstacle", ["a directory", "a directory before", "no data directory"])
def test_where_it_cannot_be_written_it_says_so_and_admits_nobody(
    tmp_path: Path, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = tmp_path / "data"
    if obstacle != "no data directory":
        (data_dir / (FILE_NAME if obstacle == "a directory" else f"{FILE_NAME}.new")).mkdir(parents=True)
    access = AdminAccess(data_dir)
    with caplog.at_level(logging.WARNING):
        access.open("127.0.0.1", 80)
    [line] = lines_of(caplog)
    assert (line["event"], line["path"]) == ("admin token not written", str(data_dir / FILE_NAME))
    assert line["error"]
    assert "a key of scope admin" in line["effect"]
    assert not access.is_token("")
    access.close()
    assert len(lines_of(caplog)) == 1
