"""Files are written completely or not at all, whatever fails during the write."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from clever.errors import UserError, one_line
from clever.files import append_text, exchange, expanded, replacing, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_replaces_the_old_one_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.bin"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent  # on the same disk; otherwise, the last step would not be atomic
        temporary.write_bytes(b"one")
        assert not path.exists()
    with replacing(path) as temporary:
        temporary.write_bytes(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ValueError, RuntimeError])
def test_a_failure_changes_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise fault

    with pytest.raises(fault), replacing(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize(
    ("code", "why"),
    [(errno.ENOSPC, "the disk or quota is full"), (errno.EDQUOT, "the disk or quota is full"), (errno.EIO, "")],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_gives_one_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, why: str
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"clever.files.os.{call}", fail)
    with pytest.raises(UserError) as raised:
        write_text(path, "new")
    monkeypatch.undo()
    assert str(raised.value).startswith(f"{path}: could not be written ({why or os.strerror(code)})")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        order.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name.split(".")[-1])
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        order.append("replace")
        replace(source, target)

    monkeypatch.setattr("clever.files.os.fsync", noted_fsync)
    monkeypatch.setattr("clever.files.os.replace", noted_replace)
    write_text(tmp_path / "file.txt", "new")
    assert order == ["sync partial", "replace", f"sync {tmp_path.name}"]


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/inner\.txt: could not be written \("):
        write_text(tmp_path / "file" / "inner.txt", "text")


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Größe\nzwei\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe\nzwei\n".encode()


def test_json_is_sorted_and_rejects_values_that_json_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [None, 2.5]})
    assert path.read_text() == '{\n  "a": [\n    null,\n    2.5\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [None, 2.5], "b": 1}


def test_appending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    append_text(path, "one\n")
    append_text(path, "zwei ü\n")
    assert path.read_bytes() == "one\nzwei ü\n".encode()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("clever.files.os.fsync", fail)
    with pytest.raises(UserError, match=r"log\.csv: could not be written \(the disk or quota is full\)"):
        append_text(path, "three\n")


def test_an_unknown_user_s_home_gives_one_line() -> None:
    assert expanded("~") == Path.home()
    assert expanded("pictures") == Path("pictures")
    with pytest.raises(UserError, match="~nosuchuser/pictures: there is no home folder ~nosuchuser; give the folder"):
        expanded("~nosuchuser/pictures")


def test_two_paths_are_exchanged(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "a").write_text("a")
    other.mkdir()
    if not exchange(one, other):
        pytest.skip("this kernel or file system cannot exchange two names in one step")
    assert (other / "a").read_text() == "a"
    assert list(one.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        exchange(one, tmp_path / "absent")


def test_an_error_message_stays_one_line_whatever_a_name_contains() -> None:
    name = "photo\nerror: forged\r\x1b[31m\u2028\u202egpj.txt"
    assert str(UserError(f"{name}: damaged")) == r"photo\nerror: forged\r\x1b[31m\u2028\u202egpj.txt: damaged"
    assert one_line("Zoë's 数字 – fine") == "Zoë's 数字 – fine"
