"""A buyer at a browser of any engine: what people do with a page, in WebDriver's words."""

import re
from collections.abc import Callable
from contextlib import suppress

from selenium.common.exceptions import (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.support.waiting import Found, eventually

OF_A_CHANGING_PAGE = (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)

MIDDLE = """
const { x, y, width, height } = arguments[0].getBoundingClientRect();
return [Math.round(x + width / 2), Math.round(y + height / 2)];
"""

PATIENCE_S = 15.0
"""Until a page shows what it should; the machine may be busy."""


class Buyer:
    """``site`` is the address of the shop as this buyer reaches it."""

    def __init__(self, driver: WebDriver, site: str):
        self.driver = driver
        self._site = site

    def open(self, address: str) -> None:
        self.driver.get(self._site + address)

    def find(self, selector: str) -> WebElement:
        """The element, as soon as it is there to be seen."""

        def shown() -> WebElement | None:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return next(filter(_is_shown, found), None)

        return self.wait_for(shown, selector)

    def wait_for(self, condition: Callable[[], Found], what: str) -> Found:
        def asked() -> Found | None:
            with suppress(*OF_A_CHANGING_PAGE):
                return condition()
            return None

        return eventually(asked, what, PATIENCE_S)

    def sees(self, text: str, selector: str = "main") -> None:
        self.wait_for(lambda: text in self.find(selector).text, f"{text!r} in {selector}")

    def is_at(self, address: str) -> None:
        self.wait_for(lambda: re.search(address, self.driver.current_url), f"the page {address}")

    def field(self, label: str) -> WebElement:
        return self.find(f"#{self._label(label).get_attribute('for')}")

    def fill(self, label: str, text: str) -> None:
        field = self.field(label)
        field.clear()
        field.send_keys(text)

    def select(self, label: str, option: str) -> None:
        Select(self.field(label)).select_by_visible_text(option)

    def check(self, label: str) -> None:
        self.click(self._label(label))

    def press(self, button: str) -> None:
        self.click(self._named("button", button))

    def click(self, element: WebElement) -> None:
        self._scroll_to(element)
        element.click()

    def type(self, *keys: str) -> None:
        """Wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def type_with_control(self, key: str) -> None:
        keys = ActionChains(self.driver).key_down(Keys.CONTROL).send_keys(key)
        keys.key_up(Keys.CONTROL).perform()

    def point_at(self, element: WebElement) -> None:
        """Clicks on its middle, whatever element is there."""
        self._scroll_to(element)
        middle = self.driver.execute_script(MIDDLE, element)
        clicks = ActionChains(self.driver)
        clicks.w3c_actions.pointer_action.move_to_location(*middle)
        clicks.click().perform()

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def _scroll_to(self, element: WebElement) -> None:
        """To the middle: at the lower edge a bar would lie over it."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)

    def _label(self, text: str) -> WebElement:
        return self._named("label", text)

    def _named(self, tag: str, text: str) -> WebElement:
        path = f"//{tag}[contains(normalize-space(), '{text}')]"

        def shown() -> WebElement | None:
            return next(filter(_is_shown, self.driver.find_elements(By.XPATH, path)), None)

        return self.wait_for(shown, f"{tag} {text!r}")


def _is_shown(element: WebElement) -> bool:
    try:
        box = element.rect
    except ElementNotInteractableException:
        # WebKit knows none of what is not in the window, or not on the page.
        return element.is_displayed()
    return box["width"] > 0 and box["height"] > 0
