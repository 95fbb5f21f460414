"""The page in a real browser: Debian's Chromium by Selenium."""

import os
import shutil

import pytest
from recognition import mosaics
from serving import served

from facetrainer.data.images import encode

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium and chromium-driver"
)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1100,1400"""


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path}/profile"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.implicitly_wait(10)
    yield driver
    driver.quit()


def photo(name, person, shot=9):
    with open(name, "wb") as file:
        file.write(encode(mosaics.photo(person, shot), ".png"))
    return os.path.abspath(name)


def see(browser, css, text):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(
        lambda one: any(text in found.text for found in one.find_elements(By.CSS_SELECTOR, css))
    )


def shot(browser, name):
    """Kept where FACE_SHOTS says, to be looked at."""
    if os.environ.get("FACE_SHOTS"):
        browser.save_screenshot(os.path.join(os.environ["FACE_SHOTS"], f"{name}.png"))


def test_upload_identify_enrol_correct_compare(workdir, browser):
    def find(css):
        return browser.find_element("css selector", css)

    def view(name):
        find(f"button[data-view={name}]").click()

    with served.server(served.app(people=range(12))) as address:
        browser.get(address)
        find("#photos").send_keys(photo("known.png", 3) + "\n" + photo("<img src=x onerror=alert(1)>.png", 30))
        see(browser, ".face .known", "p3")
        see(browser, ".face .unknown", "unknown")
        shot(browser, "identify")
        line = next(one for one in browser.find_elements("css selector", ".face") if "unknown" in one.text)
        line.find_element("css selector", "input").send_keys("Zoë <script>alert(2)</script>")
        line.find_element("css selector", "button").click()
        see(browser, ".face .known", "Zoë <script>")
        see(browser, "#message", "is known by 1 photos now")
        line = next(
            one
            for one in browser.find_elements("css selector", ".face")
            if "p3" in one.find_element("css selector", "span").text
        )
        line.find_element("css selector", "input").send_keys("Ann")
        line.find_element("css selector", "button").click()
        see(browser, "#message", "Ann is known by 1 photos now")
        view("people")
        see(browser, "#list", "Zoë <script>alert(2)</script>")
        see(browser, "#threshold", "14 people")
        shot(browser, "people")
        view("compare")
        find("#first").send_keys(photo("a.png", 5, 3))
        find("#second").send_keys(photo("b.png", 5, 4))
        see(browser, "#verdict", "cosine ")
        shot(browser, "compare")
        view("worst")
        see(browser, "#alike", "cosine")
        shot(browser, "worst")
        view("cluster")
        find("#album").send_keys("\n".join(photo(f"c{k}{s}.png", 40 + k, s) for k in range(2) for s in range(3)))
        see(browser, "#groups h2", "Person 2, 3 faces")
        shot(browser, "cluster")
        view("identify")
        find("#photos").send_keys(os.path.abspath("mosaic.keras"))
        see(browser, ".photo .unknown", "not an image")
        assert not [one for one in browser.get_log("browser") if "Content Security" in one["message"]]


def test_it_asks_for_a_token(workdir, browser):
    with served.server(served.app(served.Limits(token="secret"))) as address:
        browser.get(address)
        browser.find_element("css selector", "button[data-view=people]").click()
        browser.find_element("css selector", "#token").send_keys("secret\n")
        see(browser, "#threshold", "5 people")
