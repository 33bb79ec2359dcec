"""How much there is in a work folder is looked at while whoever fills it goes on."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from opto.sandbox.child import folders


def test_a_file_that_goes_away_hides_no_others(tmp_path, monkeypatch):
    (tmp_path / "going").write_bytes(b"x")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    scan = os.scandir

    class Entries:
        def __init__(self, path):
            self.entries = sorted(scan(path), key=lambda entry: entry.name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            for entry in self.entries:
                if entry.name == "going":
                    os.unlink(entry.path)
                yield entry

    monkeypatch.setattr(folders.os, "scandir", Entries)
    assert folders.is_over(str(tmp_path), 50_000)
    assert not folders.is_over(str(tmp_path), 500_000)


def test_a_folder_that_its_owner_has_locked_is_full(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, "")

    monkeypatch.setattr(folders.os, "scandir", refuse)  # which root is not refused
    assert folders.is_over(str(tmp_path), 50_000)
    monkeypatch.setattr(folders.os, "geteuid", lambda: os.getuid() + 1)
    assert not folders.is_over(str(tmp_path), 50_000)


def test_names_that_folders_are_given_on_the_way_stand_in_no_way(tmp_path):
    folder = tmp_path / "work"
    for number in range(20):
        inside = folder / f".removed-{number}" / "a" / "b"
        inside.mkdir(parents=True)
        (inside / "file").touch()
    folders.remove(str(folder))
    assert not folder.exists()


REMOVE = """
import os, sys
sys.path.insert(0, sys.argv[1])
import folders
if os.geteuid() == 0:
    os.setresuid(12345, 12345, 12345)
os.makedirs(sys.argv[2] + "/work/a/b")
for name in ("a/b", "a", ""):
    os.chmod(sys.argv[2] + "/work/" + name, 0o300)
folders.remove(sys.argv[2] + "/work")
print(os.listdir(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_locked_folders_are_removed():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # root becomes somebody else
        command = [sys.executable, "-I", "-S", "-c", REMOVE, str(Path(folders.__file__).parent), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
