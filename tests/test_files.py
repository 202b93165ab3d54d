"""Files that a kill or a full disk may cut: what is left behind, and what is said."""

import errno
import os
import platform
import subprocess
import sys

import pytest

from hyperfitting.files import append_jsonl, is_lfs_pointer, restore_folder, sync_folder, write_atomically

HOST = platform.node()


def test_what_a_killed_writer_left_goes_with_the_next_try(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = {f"a[1].txt.{HOST}-{os.getppid()}.tmp", f"a[1].txt.{HOST}-2-{dead.pid}.tmp"}
    kept |= {f"a[1].txt.elsewhere-{dead.pid}.tmp", f"b.txt.{HOST}-{dead.pid}.tmp"}
    for name in {f"a[1].txt.{HOST}-{dead.pid}.tmp"} | kept:
        (tmp_path / name).write_text("half")
    write_atomically(tmp_path / "a[1].txt", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].txt"} | kept


def test_an_error_names_its_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="left on device: .*a.json") as raised:
        write_atomically(tmp_path / "a.json", "{}")
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
    with pytest.raises(OSError, match=f"left on device: '{tmp_path}'"):
        sync_folder(tmp_path)
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        append_jsonl(type(tmp_path)("/dev/full"), {"a": 1})


@pytest.mark.parametrize("left", ["old", "both"])
def test_a_killed_replacement_of_a_folder_leaves_one(left, tmp_path):
    for name in {"old": ["final.old"], "both": ["final.old", "final"]}[left]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    restore_folder(tmp_path / "final", lambda folder: ["content"])
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final" / "content").read_text() == {"old": "final.old", "both": "final"}[left]


def test_a_git_lfs_pointer_is_known(tmp_path):
    pointer, real = tmp_path / "model.safetensors", tmp_path / "README.md"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 123456\n")
    real.write_text("version https://git-lfs.github.com/spec/v1 is what such a file begins with")
    assert is_lfs_pointer(pointer)
    assert not is_lfs_pointer(real) and not is_lfs_pointer(tmp_path) and not is_lfs_pointer(tmp_path / "none")
