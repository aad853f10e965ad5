"""A file that somebody reads is replaced at once, or not at all."""

import os
import stat

import pytest

from ops.files import replace_file


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    replace_file(tmp_path / "new", "content")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "new").read_text() == "content"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_replaced_file_keeps_its_permissions_and_its_owner(tmp_path):
    path = tmp_path / "file"
    path.write_text("former")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    before = path.stat()
    replace_file(path, "new")
    after = path.stat()
    assert path.read_text() == "new"
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino, "whoever has it open still reads the former one"


def test_a_link_still_leads_to_the_file(tmp_path):
    (tmp_path / "file").write_text("former")
    (tmp_path / "link").symlink_to("file")
    replace_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_what_fails_in_the_middle_leaves_the_former_file_and_no_other(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("former")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "former"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OSError, match="is not a file"):
        replace_file(tmp_path, "new")
