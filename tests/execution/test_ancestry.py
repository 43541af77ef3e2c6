"""The chain of parent processes, tested with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clever.execution.ancestry import ancestors

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

ORPHAN = """
import sys, time
from clever.execution.ancestry import ancestors
begun = ancestors()
print("begun", flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 60
while ancestors() == begun and time.monotonic() < deadline:
    time.sleep(0.01)
print("changed" if ancestors() != begun else "same", flush=True)
"""


def test_the_chain_begins_with_the_parent_and_is_stable_while_all_live() -> None:
    chain = ancestors()
    assert chain[0].pid == os.getppid()
    assert ancestors() == chain
    assert all(ancestor.pid > 1 for ancestor in chain)


def test_the_chain_of_an_orphan_has_changed() -> None:
    """A shell starts a process, which survives when the shell is killed; its grandparent runs throughout."""
    shell = subprocess.Popen(
        ["sh", "-c", f'"{sys.executable}" -c "$SCRIPT" & echo $$; wait'],
        env=os.environ | {"SCRIPT": ORPHAN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # A background job of a shell cannot read input, so the signal to continue is the end of the file.
    assert shell.stdout is not None
    lines = {shell.stdout.readline().strip(), shell.stdout.readline().strip()}
    assert "begun" in lines
    shell.kill()
    shell.wait()
    assert shell.stdout.readline().strip() == "changed"
