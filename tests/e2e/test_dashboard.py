"""
The dashboard in a real browser: every page and button, light and dark, wide and on a phone, held to axe's rules.

Screenshots are left in ``.local/screenshots`` to look at.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import check_accessible, started
from tests.e2e.running import ROOT

SHOTS = ROOT / ".local" / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SOON = 60_000
"""Milliseconds that a page may take to show what was done, on a busy machine."""


@pytest.fixture(scope="module")
def browser():
    with started() as program:
        yield program


@pytest.fixture(scope="module")
def filled(embedded_world):
    """A world with a study and a file that is none."""
    from tests.e2e.conftest import Place

    place = Place()
    for instance in (1, 2, 3):
        embedded_world.upload(
            place.name(f"{instance}.dcm"), place.file(instance=instance, StudyDescription="<b>CT</b>")
        )
    embedded_world.upload(place.name("none.dcm"), b"this is no DICOM file")
    embedded_world.settle()
    yield embedded_world, place
    embedded_world.delete_all(place.token)


def dashboard(world, page=""):
    return f"{world.addresses['api']}/dashboard{page}"


def pages_of(place):
    """Every page of the dashboard, by name."""
    return {
        "overview": "",
        "studies": "/studies",
        "dirty": "/studies?state=dirty",
        "jobs": "/jobs",
        "audit": "/audit",
        "runbook": "/runbook?of=header.not_dicom",
        "search": "/studies?q=nothing",
        "study": f"/study?uid={place.study()}",
        "letters": "/letters",
        "code": "/letters?of=header.not_dicom",
        "confirm": "/confirm?action=discard&of=header.not_dicom",
        "problem": "/nowhere",
    }


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport=WIDE)
    opened = context.new_page()
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


@pytest.fixture
def failing_page(browser):
    """A page whose clock tests turn; its console complains, for what it asks for is made to fail."""
    context = browser.new_context(viewport=WIDE)
    opened = context.new_page()
    opened.clock.install()
    yield opened
    context.close()


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [
        pytest.param(WIDE, "light", id="wide-light"),
        pytest.param(PHONE, "dark", id="phone-dark"),
        pytest.param(WIDE, "dark", id="wide-dark", marks=pytest.mark.long),
        pytest.param(PHONE, "light", id="phone-light", marks=pytest.mark.long),
    ],
)
def test_every_page_is_accessible(browser, filled, scheme, viewport):
    world, place = filled
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in pages_of(place).items():
        page.goto(dashboard(world, path))
        page.screenshot(path=SHOTS / f"{name}-{scheme}-{viewport['width']}.png", full_page=True)
        check_accessible(page)
    context.close()


def test_a_study_is_found_by_typing_and_its_values_are_text(page, filled):
    world, place = filled
    page.goto(dashboard(world))
    page.get_by_role("searchbox").fill(place.study())
    page.keyboard.press("Enter")
    page.get_by_role("link", name=place.study()).click()
    expect(page.get_by_text("Written to FHIR: 1 series, 3 instances.").first).to_be_visible()


def test_the_keyboard_alone_reaches_the_content_and_the_buttons(page, filled):
    world, _ = filled
    page.goto(dashboard(world))
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#pause").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pause projection?")).to_be_visible()


FOCUSABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter(each => !each.disabled && each.tabIndex >= 0 && each.type !== "hidden" && each.checkVisibility()).length"""
FOCUSED = """() => {
  const each = document.activeElement, place = each.getBoundingClientRect(), style = getComputedStyle(each);
  if (each === document.body) return null;
  const again = "reached" in each.dataset, within = window.lastReached === each; // a day has three fields
  window.lastReached = each;
  each.dataset.reached = "";
  const inHeight = place.bottom > 0 && place.top < innerHeight;
  const inView = place.width > 0 && inHeight && place.right > 0 && place.left < innerWidth;
  return {again, within, inView, outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
          name: each.id || each.textContent.trim().slice(0, 40) || each.name};
}"""


def test_the_keyboard_reaches_all_of_every_page_and_shows_where_it_is(page, filled):
    world, place = filled
    for path in pages_of(place).values():
        page.route(
            "**/nowhere", lambda route: route.fulfill(response=route.fetch(), status=200)
        )  # no complaint of a 404
        page.goto(dashboard(world, path))
        expected, reached = page.evaluate(FOCUSABLE), []
        for _ in range(5 * expected):
            page.keyboard.press("Tab")
            focused = page.evaluate(FOCUSED)
            if focused is None or (focused["again"] and not focused["within"]):
                break
            if not focused["within"]:
                reached.append(focused)
        assert reached[0]["name"] == "Skip to the content", path
        assert [entry["name"] for entry in reached if not entry["outlined"] or not entry["inView"]] == [], path
        assert len(reached) == expected, (path, [entry["name"] for entry in reached])


def test_an_action_is_taken_by_the_keyboard_alone_and_announced(page, filled):
    world, place = filled
    page.goto(dashboard(world, f"/study?uid={place.study()}"))
    tab_to(page, "verify-study")
    page.keyboard.press("Enter")
    page.wait_for_url("**/confirm*")
    tab_to(page, "who")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Differences: 0", timeout=SOON)


def tab_to(page, name):
    """Press Tab until the element of an id has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def test_pausing_and_resuming_asks_and_says_who(page, filled):
    world, _ = filled
    page.goto(dashboard(world))
    page.locator("#pause").click()
    page.get_by_label("Who are you?").fill("Ada")
    page.get_by_label("Why?").fill("FHIR moves")
    page.locator("#yes").click()
    expect(page.get_by_role("heading", name="Projection is paused")).to_be_visible(timeout=SOON)
    expect(page.get_by_text("by Ada: FHIR moves").first).to_be_visible()
    page.locator("#resume").click()
    page.get_by_label("Who are you?").fill("Ada")
    page.locator("#yes").click()
    expect(page.get_by_text("Projection is resumed.")).to_be_visible(timeout=SOON)
    expect(page.locator("#pause")).to_be_visible()


def test_a_study_is_verified_and_replayed_by_buttons(page, filled):
    world, place = filled
    for button, answer in (("#verify-study", "Differences: 0"), ("#replay-study", "Replays started: 1")):
        page.goto(dashboard(world, f"/study?uid={place.study()}"))
        page.locator(button).click()
        page.get_by_label("Who are you?").fill("Ada")
        page.locator("#yes").click()
        expect(page.get_by_role("status")).to_contain_text(answer, timeout=SOON)


def test_dead_letters_are_retried_and_discarded_by_buttons(page, filled):
    world, place = filled
    world.upload(place.name("other.dcm"), b"neither is this")
    world.settle()
    page.goto(dashboard(world, "/letters?of=header.not_dicom"))
    page.locator("#retry-all").click()
    expect(page.get_by_text(re.compile(r"This affects \d"))).to_be_visible()
    page.get_by_label("Who are you?").fill("Ada")
    page.locator("#yes").click()
    expect(page.get_by_role("status")).to_contain_text("requeued", timeout=SOON)
    page.goto(dashboard(world, "/letters?of=header.not_dicom"))
    page.get_by_role("link", name="Discard", exact=True).first.click()
    page.get_by_label("Who are you?").fill("Ada")
    page.get_by_label("Why?").fill("a test file")
    page.locator("#yes").click()
    expect(page.get_by_role("status")).to_contain_text("Discarded: 1", timeout=SOON)


def test_cancel_changes_nothing(page, filled):
    world, _ = filled
    page.goto(dashboard(world, "/confirm?action=pause"))
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#pause")).to_be_visible()


def test_the_page_refreshes_itself_and_stops_when_it_is_hidden(page, filled):
    world, _ = filled
    page.clock.install()
    page.goto(dashboard(world))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(11_000)
    expect(page.locator("#freshness")).to_contain_text("Refreshed at")
    assert len(asked) == 1
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(60_000)
    assert len(asked) == 1


def test_a_selection_the_focus_and_the_place_survive_a_refresh_that_changes_the_page(page, filled):
    world, place = filled
    page.clock.install()
    page.goto(dashboard(world))
    page.evaluate(SELECT, place.study())
    page.locator("#pause").focus()
    page.evaluate("window.scrollTo(0, 300)")
    before = page.evaluate("[getSelection().toString(), document.activeElement.id, window.scrollY]")
    assert before[0] == place.study()
    world.upload(place.name("4.dcm"), place.file(instance=4))
    world.settle()
    page.clock.run_for(11_000)
    expect(page.locator("#freshness")).to_contain_text("Refreshed at")
    expect(page.locator("tr", has_text=place.study()).first).to_contain_text("4")
    assert page.evaluate("[getSelection().toString(), document.activeElement.id, window.scrollY]") == before
    world.delete(place.name("4.dcm"))
    world.settle()


def test_a_clock_that_differs_from_that_of_the_app_is_told(page, filled):
    world, _ = filled
    page.goto(dashboard(world))
    expect(page.locator("#band")).not_to_contain_text("differ by")
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=2))
    page.goto(dashboard(world))
    expect(page.locator("#band")).to_contain_text("The clock of this device and that of the app differ by 1")


def test_a_ticked_dead_letter_stays_ticked_and_no_other_is_when_new_ones_come(page, filled):
    world, place = filled
    for number in range(3):
        world.upload(place.name(f"ticked {number}.dcm"), b"not this either")
    world.settle()
    page.clock.install()
    page.goto(dashboard(world, "/letters?of=header.not_dicom"))
    ticked = page.locator("input[name=subjects]").nth(1)
    subject = ticked.get_attribute("value")
    ticked.check()
    before = page.locator("input[name=subjects]").count()
    for number in range(3):
        world.upload(place.name(f"newer {number}.dcm"), b"nor this")
    world.settle()
    page.clock.run_for(11_000)
    expect(page.locator("input[name=subjects]")).to_have_count(before + 3)
    checked = page.locator("input[name=subjects]:checked")
    assert [box.get_attribute("value") for box in checked.all()] == [subject]
    for number in range(3):
        world.delete(place.name(f"ticked {number}.dcm"))
        world.delete(place.name(f"newer {number}.dcm"))
    world.settle()


SELECT = """uid => {
  const link = [...document.querySelectorAll("a.uid")].find(each => each.textContent === uid);
  getSelection().selectAllChildren(link);
}"""


def test_without_script_everything_is_there(browser, filled):
    world, place = filled
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(dashboard(world, f"/study?uid={place.study()}"))
    page.locator("#replay-study").click()
    page.get_by_label("Who are you?").fill("Ada")
    page.locator("#yes").click()
    expect(page.get_by_role("status")).to_contain_text("Replays started", timeout=SOON)
    context.close()


def test_screenshots_were_left_to_look_at(filled):
    assert len(list(Path(SHOTS).glob("*.png"))) >= 1


def failing(page, world, **answer):
    """Let the app answer the pages of the dashboard in another way."""
    missing = world.api.get("dashboard/nowhere").text
    problem = missing.replace('<main id="main"', '<main id="main" data-refresh="10"').replace(
        "no such page", "no storage"
    )
    page.route("**/api/dashboard", lambda route: route.fulfill(**{"status": 503, "body": problem, **answer}))


def test_an_app_that_answers_an_error_is_not_said_to_be_silent(failing_page, filled):
    (world, _), page = filled, failing_page
    page.goto(dashboard(world))
    failing(page, world, content_type="text/html")
    page.clock.run_for(11_000)
    expect(page.locator("#freshness")).to_contain_text(
        "The function app answers: request.not_found: there is no storage."
    )
    expect(page.locator("#verdict")).to_be_visible()
    page.unroute("**/api/dashboard")
    failing(page, world, status=302, headers={"Location": "https://login.example/"}, body="")
    page.clock.run_for(11_000)
    expect(page.locator("#freshness")).to_contain_text("asks you to sign in again")
    expect(page.locator("#verdict")).to_contain_text("Unknown since")


def test_a_page_of_a_problem_goes_away_with_it(failing_page, filled):
    (world, _), page = filled, failing_page
    failing(page, world, content_type="text/html")
    page.goto(dashboard(world))
    expect(page.locator("#problem")).to_be_visible()
    page.clock.run_for(11_000)
    expect(page.locator("#problem")).to_be_visible()
    page.unroute("**/api/dashboard")
    page.clock.run_for(11_000)
    expect(page.locator("#verdict")).to_be_visible(timeout=SOON)


def test_a_page_whose_host_is_frozen_says_that_it_does_not_know(failing_page, filled):
    (world, _), page = filled, failing_page
    page.goto(dashboard(world))
    expect(page.locator("#verdict")).not_to_contain_text("Unknown")
    page.evaluate("window.heard = document.getElementById('verdict')")
    # A frozen host takes the request and never answers: neither an error nor a page.
    page.route("**/api/dashboard*", lambda _: None)
    page.clock.run_for(40_000)
    expect(page.locator("#verdict")).to_contain_text("Unknown since", timeout=SOON)
    assert page.title().startswith("Unknown since")
    expect(page.locator("#band .doubt")).to_contain_text("does not answer. The same without it: python -m sync status")
    assert page.evaluate("heard.isConnected && heard.getAttribute('aria-live')") == "polite", "a change is announced"
    page.unroute("**/api/dashboard*")
    page.clock.run_for(12_000)
    expect(page.locator("#verdict")).not_to_contain_text("Unknown", timeout=SOON)
    expect(page.locator("#band .doubt")).to_have_count(0)
    assert not page.title().startswith("Unknown")
