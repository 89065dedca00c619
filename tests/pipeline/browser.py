"""For tests of pages: a real browser without a window, what it complained of, and whom it asked."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.pipeline.serving import until

AXE = "axe-core: scripts/fetch_axe.sh fetches it to build/axe.min.js"
_AXE_FILE = Path(__file__).parents[2] / "build" / "axe.min.js"


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._log: Callable[[str], list[dict[str, Any]]] = driver.get_log  # it has no types

    def open(self, url: str) -> None:
        self.driver.get(url)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Wait until there is one that shows."""
        found: list[WebElement] = until(lambda: [e for e in self.all(selector) if e.is_displayed()], selector)
        return found[0]

    def text(self, selector: str) -> str:
        """As it shows now; "" where there is nothing."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"
        return str(self.driver.execute_script(script, selector))

    def shows(self, selector: str, words: str) -> None:
        """Wait for it."""
        until(lambda: words in self.text(selector), f"{selector} never shows: {words}")

    def row(self, table: str, key: str) -> str:
        return f'#{table} tr[data-key="{key}"]'

    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def emulate(self, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def complaints(self) -> list[str]:
        """What came to its console since the last time."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"]

    def asked(self) -> set[str]:
        """Whom its page sent requests to since the last time, as scheme, host and port."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in sent}

    def serious(self) -> list[str]:
        """What axe-core finds that keeps somebody from using the page."""
        if not _AXE_FILE.exists():
            pytest.skip(AXE)
        self.driver.execute_script(_AXE_FILE.read_text("utf-8"))
        found: dict[str, Any] = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        assert found["passes"], "axe-core looked at nothing"
        return [
            f"{each['id']} ({each['impact']}): {node['html']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]  # fmt: skip


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser while the block lasts. The test is skipped where there is none."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver: they are not on this machine (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"):
        options.add_argument(argument)
    options.add_argument("--disable-background-networking")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        driver.get("about:blank")
        browser = Browser(driver)
        browser.asked()  # by the page that it opens with
        yield browser
    finally:
        driver.quit()
