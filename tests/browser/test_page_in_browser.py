"""The page of results in a real browser without a network: Chromium through its driver."""

import base64
import shutil
import time
from xml.etree import ElementTree

import polars as pl
import pytest
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from reversal_curse.config.file import Config
from reversal_curse.tables.schemas import MEASURED
from small_page import SEEDS, write_small_page

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="##### NOT TESTED: the page in a browser; needs chromium and chromedriver #####",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_small_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    quiet = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,1000")
    for argument in (*quiet, "host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.downloads = downloads
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    """The page, freshly opened; afterwards, nothing was loaded and the console is empty."""
    browser.get("about:blank")
    browser.get(page.as_uri())
    wait(browser, lambda: count(browser, "#chart svg .mark-line path"))
    yield browser
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in loaded if not name.startswith(("blob:", "data:"))] == []
    assert browser.get_log("browser") == []


def wait(browser, condition):
    return WebDriverWait(browser, 20).until(lambda _: condition())


def count(browser, selector: str) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, selector))


def choose(browser, **choices: str) -> None:
    for name, value in choices.items():
        Select(browser.find_element(By.NAME, name)).select_by_visible_text(value)


def shown_claims(browser) -> list:
    return [row for row in browser.find_elements(By.CLASS_NAME, "claim") if row.is_displayed()]


def downloaded(browser, name: str) -> str:
    path = browser.downloads / name
    wait(browser, path.exists)
    text = path.read_text()
    path.unlink()
    return text


def test_claims_are_filtered_by_paper_section_verdict_kind_and_words(opened, page):
    claims = pl.read_parquet(page.with_name("claims.parquet"))
    output = opened.find_element(By.TAG_NAME, "output")
    choose(opened, verdict="contradicted")
    rows = shown_claims(opened)
    contradicted = set(claims.filter(verdict="contradicted")["id"])
    assert {row.get_attribute("id") for row in rows} == contradicted
    assert output.text == f"{len(rows)} claim{'s' * (len(rows) != 1)}"
    choose(opened, verdict="all", paper="P2", kind="check")
    kept = claims.filter(pl.col("paper").str.starts_with("P2"), kind="check")
    assert len(shown_claims(opened)) == len(kept)
    choose(opened, paper="all", kind="all", section="Reversal")
    opened.find_element(By.NAME, "words").send_keys("TIED known")
    assert {row.get_attribute("id") for row in shown_claims(opened)} >= {"tied_head_known"}
    opened.find_element(By.NAME, "words").send_keys(" nonsense")
    assert output.text == "0 claims"


def test_the_ledger_of_a_report_filters_as_a_data_url(browser, page):
    content = page.with_name("ledger.html").read_bytes()
    browser.get(f"data:text/html;base64,{base64.b64encode(content).decode()}")
    claims = pl.read_parquet(page.with_name("claims.parquet"))
    assert len(shown_claims(browser)) == claims.height
    choose(browser, verdict="inconclusive")
    assert len(shown_claims(browser)) == claims.filter(verdict="inconclusive").height
    assert browser.get_log("browser") == []


def test_a_row_unfolds_by_keyboard_to_its_numbers_and_its_figure(opened):
    row = opened.find_element(By.ID, "reversal_learned")
    row.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    for text in (
        "accuracy on the training sentences",
        "95 % interval",
        "5 of 5 seeds",
        "above 0.95",
    ):
        assert text in row.text
    image = row.find_element(By.TAG_NAME, "img")
    wait(opened, lambda: int(image.get_property("naturalWidth")) > 0)


def test_links_lead_to_rows_from_the_opening_list_and_from_the_overview(opened):
    link = opened.find_element(By.CSS_SELECTOR, "#run li a")
    row = opened.find_element(By.ID, link.get_attribute("hash")[1:])
    link.click()
    wait(opened, lambda: row.get_property("open"))
    opened.find_element(By.CSS_SELECTOR, "#ledger > details > summary").send_keys(Keys.ENTER)
    name = opened.find_element(By.CSS_SELECTOR, '.overview a[*|href="#reversal_learned"]')
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", name)
    name.click()
    wait(opened, lambda: opened.find_element(By.ID, "reversal_learned").get_property("open"))


def test_every_quantity_and_choice_of_the_explorer_draws_its_curves(opened):
    names = {
        option.get_attribute("value")
        for option in Select(opened.find_element(By.NAME, "quantity")).options
    }
    assert {"nll_token", "rank_choice"} <= names < {column.name for column in MEASURED}

    right = "return document.querySelector(arguments[0]).getBoundingClientRect().right"
    svg, room = (opened.execute_script(right, name) for name in ("#chart svg", "#explorer"))
    assert svg <= room, "the legend of the sentences has its place"

    def draws(panels: int, lines: int) -> None:
        # Of the two layers of lines, one has a line for each seed.
        means = '#chart svg .mark-line[class*="layer_0"] path'
        wait(opened, lambda: count(opened, means) == lines)
        assert count(opened, "#chart svg .role-scope.cell > g") == panels

    draws(1, 2)
    choose(opened, sweep="grid", split="unseen", panel="layers", colour="vocab_size")
    draws(2, 4)
    labels = {text.text for text in opened.find_elements(By.CSS_SELECTOR, "#chart svg text")}
    assert {"1 layer", "2 layers", "V = 20", "V = 24"} <= labels
    choose(opened, other="facts", panel="sweep")
    draws(2, 6)
    for box in ("logx", "logy"):
        opened.find_element(By.NAME, box).click()
    draws(2, 6)
    opened.find_element(By.NAME, "logy").click()
    for name in names:
        Select(opened.find_element(By.NAME, "quantity")).select_by_value(name)
        wait(opened, lambda name=name: name in opened.find_element(By.ID, "chart").text)


def test_pointing_at_a_line_shows_its_seeds_and_numbers(opened):
    choose(opened, split="unseen")
    opened.execute_script("document.getElementById('chart').scrollIntoView({block: 'center'})")
    point = "#chart svg .mark-symbol[class*=marks] path"
    wait(opened, lambda: count(opened, point))
    box = opened.find_elements(By.CSS_SELECTOR, point)[30].rect
    top = opened.execute_script("return scrollY")
    mouse = ActionBuilder(opened)
    place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 - top
    mouse.pointer_action.move_to_location(*map(int, place))
    mouse.perform()
    tooltip = wait(
        opened, lambda: opened.find_element(By.CSS_SELECTOR, "#vg-tooltip-element.visible").text
    )
    assert "undefined" not in tooltip
    assert {"base", "unseen", "3.20", str(SEEDS)} <= set(tooltip.split())
    seeds = [
        path
        for path in opened.find_elements(By.CSS_SELECTOR, "#chart svg .mark-line path")
        if path.get_attribute("opacity") == "0.7"
    ]
    assert len(seeds) == SEEDS


def test_downloads_are_what_they_say_they_are(opened, page):
    figure = opened.find_element(By.ID, "figure-mine")
    links = {link.text: link for link in figure.find_elements(By.CSS_SELECTOR, ".files a")}
    assert set(links) == {"SVG", "PDF", "PNG", "CSV"}
    links["SVG"].click()
    svg = downloaded(opened, "mine.svg")
    assert svg == (page.parent / "figures/mine.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    for kind in ("PDF", "PNG"):
        assert (page.parent / links[kind].get_dom_attribute("href")).exists()
    figure.find_element(By.TAG_NAME, "summary").click()
    figure.find_element(By.LINK_TEXT, "Download mine.yaml").click()
    (opened.downloads / "again.yaml").write_text(downloaded(opened, "mine.yaml"))
    assert list(Config.load(opened.downloads / "again.yaml").sweeps) == ["grid"]
    opened.find_element(By.NAME, "csv").click()
    rows = pl.read_csv(downloaded(opened, "base_nll_token.csv").encode())
    assert rows.height == 60 * 2 * SEEDS


def test_grid_points_are_sorted_as_numbers_in_both_directions(opened):
    heads = opened.find_elements(By.CSS_SELECTOR, "#points th")
    column = [head.text.replace("​", "").strip() for head in heads].index("vocab_size")
    for order, expected in (("ascending", sorted), ("descending", lambda v: sorted(v)[::-1])):
        heads[column].find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        cells = f"#points tbody td:nth-child({column + 1})"
        found = [int(cell.text) for cell in opened.find_elements(By.CSS_SELECTOR, cells)]
        assert found == expected(found)
        assert heads[column].get_attribute("aria-sort").startswith(order)


@pytest.mark.parametrize(("scheme", "back"), [("light", 255), ("dark", 22)])
def test_a_phone_shows_the_page_in_its_width_light_and_dark(browser, page, scheme, back):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    wait(browser, lambda: count(browser, "#chart svg"))
    choose(browser, sweep="grid", panel="layers")
    time.sleep(0.5)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert colour.startswith(f"rgb({back}")
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
