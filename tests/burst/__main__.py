"""``make burst``: a whole sale under load, and the verdict. Ends with 1 when something happened
that must not, with 2 when there was no burst to judge."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from ops.processes import ProcessFailed
from ops.servers import REPOSITORY
from tests.burst.plan import BadPlan, read_plan
from tests.burst.play import play, say
from tests.burst.report import keep, text_of, write_report
from tests.burst.verdict import Evident

REPORT_DIR = REPOSITORY / "burst-report"
KEPT_DIR = REPOSITORY / "docs/burst"


def main() -> int:
    # As Ctrl-C does, so that everything is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        plan = read_plan(os.environ)
        report_dir = Path(os.environ.get("REPORT") or REPORT_DIR)
        shutil.rmtree(report_dir, ignore_errors=True)
        report_dir.mkdir(parents=True)
        with tempfile.TemporaryDirectory(prefix="tickets-burst-") as folder:
            evident = Evident(play(plan, Path(folder), report_dir))
    except (BadPlan, ProcessFailed, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("Stopped")
        return 2
    verdict = evident.judge()
    page = write_report(evident, verdict, report_dir)
    if plan.keep:
        keep(evident, verdict, KEPT_DIR)
    say(text_of(verdict))
    say(f"Report: {page}")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
