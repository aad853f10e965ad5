"""The three engines that browsers are made of, from Debian, driven by selenium: Blink (Chromium),
Gecko (Firefox) and WebKit (WebKitGTK's MiniBrowser, the closest to Safari that Linux has)."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.options import BaseOptions
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver

from ops.processes import Process, accepts_connections, free_port
from ops.servers import HOST
from tests.browser import chromium
from tests.browser.marionette import Marionette
from tests.support.environment import inherited

WIDTH, HEIGHT = 1280, 900
"""Of the window; of the screen, where there has to be one."""

MINI_BROWSER = "*/webkit*gtk*/MiniBrowser"
"""Below /usr/lib, and not on PATH."""


def running_chromium(folder: Path, *, javascript: bool) -> AbstractContextManager[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = chromium.executable()
    # Over a pipe: however the driver ends, the browser ends with it.
    for argument in ("--headless=new", "--remote-debugging-pipe", *chromium.options()):
        options.add_argument(argument)
    if not javascript:
        blocked = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", blocked)
    return _driver("chromedriver", folder, options)


@contextmanager
def running_firefox(folder: Path, *, javascript: bool) -> Iterator[WebDriver]:
    profile = folder / "profile"
    profile.mkdir(parents=True)
    (profile / "user.js").write_text(
        'user_pref("marionette.port", 0);\n'
        f'user_pref("javascript.enabled", {str(javascript).lower()});\n'
    )
    command = ["firefox-esr", "--headless", "--marionette", "--profile", str(profile)]
    port_file = profile / "MarionetteActivePort"

    def port() -> int:
        """Firefox picks one that is free; 0 before it has."""
        return int(port_file.read_text() or 0) if port_file.exists() else 0

    with (
        _Program(command, folder, is_ready=port),
        closing(Marionette(port())) as marionette,
    ):
        yield webdriver.Remote(marionette, options=webdriver.FirefoxOptions())


@contextmanager
def running_webkit(folder: Path, *, javascript: bool) -> Iterator[WebDriver]:
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(next(Path("/usr/lib").glob(MINI_BROWSER)))
    for argument in ("--automation", f"--enable-javascript={javascript}"):
        options.add_argument(argument)
    with (
        _display(folder) as display,
        _driver("WebKitWebDriver", folder, options, display) as driver,
    ):
        yield driver


ENGINES = {"chromium": running_chromium, "firefox": running_firefox, "webkit": running_webkit}


class _Program(Process):
    """A browser, a driver or a display, with a separate home folder: Firefox refuses to run as root
    in another user's, and the user's files are neither read nor changed."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        *,
        is_ready: Callable[[], object],
        env: dict[str, str] | None = None,
        keep_open: tuple[int, ...] = (),
    ):
        self.is_ready = is_ready
        env = inherited() | {"HOME": str(folder)} | (env or {})
        log_path = folder / f"{command[0]}.log"
        super().__init__(command[0], command, log_path, env=env, keep_open=keep_open)

    def stop(self) -> None:
        """At once, with everything it started, which is in its process group: there is nothing to
        save."""
        self.kill()


@contextmanager
def _driver(
    name: str, folder: Path, options: BaseOptions, env: dict[str, str] | None = None
) -> Iterator[WebDriver]:
    port = free_port(HOST)
    command = [name, f"--port={port}"]
    with _Program(command, folder, is_ready=lambda: accepts_connections(port, HOST), env=env):
        config = ClientConfig(f"http://{HOST}:{port}")
        yield webdriver.Remote(RemoteConnection(client_config=config), options=options)


@contextmanager
def _display(folder: Path) -> Iterator[dict[str, str]]:
    """MiniBrowser has no headless mode. Gives the environment that leads to the display."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24"]
    command += ["-nolisten", "tcp"]
    with (
        os.fdopen(reading) as told,
        _Program(command, folder, is_ready=lambda: True, keep_open=(writing,)),
    ):
        os.close(writing)
        # It picks a number that is free, and says so when it is ready.
        yield {"DISPLAY": f":{told.readline().strip()}"}
