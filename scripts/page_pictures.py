"""Takes the pictures of the status page that the docs show: light, dark, and on a phone.

usage: python -m scripts.page_pictures
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.pipeline.browser import Browser, browsing
from tests.pipeline.running import Event, Message, profile, receiving, score, vip, workspace
from tests.pipeline.serving import Service, now, serving, until

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
_PEOPLE = 1_500
_CONNECTIONS = ("crm", "mail", "push")


def main() -> None:
    with TemporaryDirectory() as folder, receiving() as receiver:
        root = Path(folder)
        os.environ["XDG_STATE_HOME"] = str(root / "user")
        receiver.answer = _answer
        _cap(workspace(root / "workspace.yaml", *_CONNECTIONS))
        with serving(root, receiver.url) as service, browsing(root / "browser") as browser:
            _go_on_for_a_while(service)
            browser.open(f"{service.page}/")
            until(lambda: service.connection("push")["stopped"])
            _take_all(browser)


def _answer(host: str, message: Message) -> int:
    """One vendor refuses everybody, another one refuses some."""
    if host.startswith("push"):
        return 401
    return 400 if host.startswith("mail") and message["userId"].endswith("7") else 200


def _cap(file: Path) -> None:
    """The calls of one connection wait for a while."""
    file.write_text(file.read_text().replace("  - name: crm\n", "  - name: crm\n    cap: 20/s\n"))


def _go_on_for_a_while(service: Service) -> None:
    events: list[Event] = [profile("ana", now(), "ana@x.example"), score("ana", now(), 181.5), vip("ana", now())]
    for number in range(_PEOPLE):
        events += [profile(f"person-{number}", now()), score(f"person-{number}", now(), number)]
    service.append("events.jsonl", *events, {"type": "nonsense"})
    until(lambda: service.connection("mail")["rejected"] > 2 and service.connection("crm")["seconds_left"])


def _take_all(browser: Browser) -> None:
    PICTURES.mkdir(exist_ok=True)
    browser.emulate("light", 1280, 940)
    browser.one("#letters button")
    _search(browser)
    _take(browser, "page_light.png")
    browser.one('[aria-label="Pause crm"]').click()
    browser.shows("#connections", "paused since")
    browser.emulate("dark", 1280, 940)
    _take(browser, "page_dark.png")
    browser.emulate("light", 390, 844)
    _take(browser, "page_phone.png")


def _search(browser: Browser) -> None:
    browser.one("#person").send_keys("email:ana@x.example\n")
    browser.shows("#person-found", "known by that")
    browser.driver.execute_script("window.scrollTo(0, 0); document.activeElement.blur()")


def _take(browser: Browser, name: str) -> None:
    browser.driver.save_screenshot(str(PICTURES / name))
    print(f"{name}: {(PICTURES / name).stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
