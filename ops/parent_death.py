"""Tie a child process to its parent, so that a parent killed with SIGKILL leaves nothing behind."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h; see prctl(2)."""

# Resolved now: between fork and exec nothing may import, lock or look up a symbol.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to send this process SIGTERM when the thread that started it ends.

    SIGTERM and not SIGKILL: a server that is killed cannot end its own workers (those of nginx
    would keep listening). The setting survives exec. ``parent_pid`` closes the gap between fork
    and this call, in which the parent may already be gone.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGTERM)
