"""Firefox for selenium without geckodriver, which Debian does not have.

geckodriver translates WebDriver's HTTP into Marionette, the protocol that Firefox itself speaks:
the same commands by other names, as JSON over TCP.
https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
"""

import itertools
import json
import socket
from typing import Any

from selenium.webdriver.remote.command import Command

from ops.servers import HOST

TIMEOUT_S = 60
"""Of one command. A page may be slow to load on a busy machine."""

COMMANDS = {
    Command.NEW_SESSION: "WebDriver:NewSession",
    Command.GET: "WebDriver:Navigate",
    Command.GET_CURRENT_URL: "WebDriver:GetCurrentURL",
    Command.REFRESH: "WebDriver:Refresh",
    Command.FIND_ELEMENT: "WebDriver:FindElement",
    Command.FIND_ELEMENTS: "WebDriver:FindElements",
    Command.FIND_CHILD_ELEMENTS: "WebDriver:FindElements",
    Command.CLICK_ELEMENT: "WebDriver:ElementClick",
    Command.CLEAR_ELEMENT: "WebDriver:ElementClear",
    Command.SEND_KEYS_TO_ELEMENT: "WebDriver:ElementSendKeys",
    Command.GET_ELEMENT_TAG_NAME: "WebDriver:GetElementTagName",
    Command.GET_ELEMENT_TEXT: "WebDriver:GetElementText",
    Command.GET_ELEMENT_ATTRIBUTE: "WebDriver:GetElementAttribute",
    Command.GET_ELEMENT_PROPERTY: "WebDriver:GetElementProperty",
    Command.GET_ELEMENT_VALUE_OF_CSS_PROPERTY: "WebDriver:GetElementCSSValue",
    Command.GET_ELEMENT_ARIA_LABEL: "WebDriver:GetComputedLabel",
    Command.GET_ELEMENT_ARIA_ROLE: "WebDriver:GetComputedRole",
    Command.GET_ELEMENT_RECT: "WebDriver:GetElementRect",
    Command.IS_ELEMENT_SELECTED: "WebDriver:IsElementSelected",
    Command.IS_ELEMENT_ENABLED: "WebDriver:IsElementEnabled",
    Command.W3C_GET_ACTIVE_ELEMENT: "WebDriver:GetActiveElement",
    Command.W3C_ACTIONS: "WebDriver:PerformActions",
    Command.W3C_CLEAR_ACTIONS: "WebDriver:ReleaseActions",
    Command.W3C_EXECUTE_SCRIPT: "WebDriver:ExecuteScript",
    Command.SET_WINDOW_RECT: "WebDriver:SetWindowRect",
    Command.SCREENSHOT: "WebDriver:TakeScreenshot",
}
"""Those that the tests use; a journey that needs another one adds it."""


class Marionette:
    """A ``command_executor`` of selenium's ``Remote``, for the Firefox that listens on ``port``."""

    client_config = None

    def __init__(self, port: int):
        self._socket = socket.create_connection((HOST, port), TIMEOUT_S)
        self._stream = self._socket.makefile("rwb")
        self._ids = itertools.count(1)
        self._read()  # It introduces itself.

    def execute(self, command: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """What selenium expects of a driver's answer. Raises KeyError for a command that is not
        one of ``COMMANDS``."""
        # Selenium's capabilities are for geckodriver; to Firefox, none are the defaults.
        params = {} if command == Command.NEW_SESSION else dict(params or {})
        if command == Command.FIND_CHILD_ELEMENTS:
            params["element"] = params.pop("id")
        message = json.dumps([0, next(self._ids), COMMANDS[command], params]).encode()
        self._stream.write(b"%d:%s" % (len(message), message))
        self._stream.flush()
        _, _, error, result = self._read()
        if error:
            return {"status": 500, "value": json.dumps({"value": error})}
        if isinstance(result, dict) and "value" in result:
            return result
        return {"value": result}

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _read(self) -> Any:
        length = bytearray()
        while (digit := self._stream.read(1)) != b":":
            if not digit:
                raise ConnectionError("Firefox ended")
            length += digit
        return json.loads(self._stream.read(int(length)))
