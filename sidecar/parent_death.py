"""Tie a child process to its parent, so that a parent killed with SIGKILL leaves nothing behind."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h; see prctl(2)."""

# Resolved now: between fork and exec nothing may import, lock or look up a symbol.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(death_signal: signal.Signals, parent_pid: int | None = None) -> None:
    """Ask the kernel to send this process ``death_signal`` when the thread that started it ends.
    The setting survives exec.

    ``parent_pid``, as the parent itself knows it, closes the gap between fork and this call, in
    which the parent may already be gone. Raises OSError when the kernel refuses, ProcessLookupError
    when the parent is gone; raised in a Popen's ``preexec_fn`` both end the child before exec.
    """
    if _prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl refuses a death signal")
    if parent_pid is not None and os.getppid() != parent_pid:
        raise ProcessLookupError(f"the parent {parent_pid} is gone")
