"""``make burst``: a complete sale under load, and the verdict. The exit code is 1 when a promise
was broken, and 2 when the burst could not be run."""

import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from ops.processes import ProcessFailed
from ops.servers import REPOSITORY
from tests.burst.plan import read_plan
from tests.burst.play import play, say
from tests.burst.report import keep, text_of, write_report
from tests.burst.verdict import Evident
from tests.support.parameters import BadParameter

REPORT_DIR = REPOSITORY / "burst-report"
KEPT_DIR = REPOSITORY / "docs/burst"


def main() -> int:
    try:
        plan = read_plan(os.environ)
        shutil.rmtree(REPORT_DIR, ignore_errors=True)
        REPORT_DIR.mkdir(parents=True)
        with tempfile.TemporaryDirectory(prefix="tickets-burst-") as folder:
            evident = Evident(play(plan, Path(folder), REPORT_DIR))
    except (BadParameter, ProcessFailed, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("Stopped")
        return 2
    verdict = evident.judge()
    page = write_report(evident, verdict, REPORT_DIR)
    if plan.keep:
        keep(evident, verdict, KEPT_DIR)
    say(text_of(verdict))
    say(f"Report: {page}")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    logging.disable()  # errors about parts that chaos has killed are expected
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
