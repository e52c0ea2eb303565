"""The self-check's questions on the page: by keyboard, kept, without a script, on paper."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.book.site import NARROW, WIDE, Watched

PAGE = "notebooks/03_codebook_kmeans.html"
ASKS_NUMBER, CHOICE = "question-03-gaussian-perplexity", "question-03-a-wrong-row"
KEPT = "Object.keys(localStorage).filter(key => key.startsWith('semantic-ids-book:')).sort()"


def question(page: Page, answer: str):
    return page.locator(f".question:has(#{answer})")


@pytest.fixture
def page(watched: Watched, built_book: Path) -> Page:
    return watched.open(built_book / PAGE)


def test_a_guess_is_kept_and_shown_beside_the_result(page: Page, watched: Watched) -> None:
    asked = question(page, ASKS_NUMBER)
    output = page.locator(".cell_output", has_text="perplexity  lost").first
    expect(output).to_be_hidden()
    cover = page.locator(".question-cover")
    expect(cover).to_contain_text("waits for your guess at question 1")

    field = asked.get_by_label("My number")
    field.focus()
    page.keyboard.press("Enter")
    expect(asked.get_by_role("status")).to_contain_text("Write a number first")
    page.keyboard.type("60 %")
    page.keyboard.press("Enter")
    expect(asked.get_by_role("status")).to_have_text("✗ Your number: 60 %. What came out: 221.")
    expect(output).to_be_visible()
    expect(cover).to_be_hidden()
    below = page.locator(".question-kept")
    expect(below).to_have_text("Your guess at question 1: 60 %. ✗ Right: 221.")
    assert output.bounding_box()["y"] < below.bounding_box()["y"]
    expect(asked.locator("details")).to_have_attribute("open", "")
    assert page.evaluate(KEPT) == [f"semantic-ids-book:{ASKS_NUMBER}"]

    page.reload()
    expect(asked.get_by_label("My number")).to_have_value("60 %")
    expect(output).to_be_visible()
    expect(below).to_be_visible()

    asked.get_by_role("button", name="Answer again").click()
    assert page.evaluate(KEPT) == []
    expect(field).to_be_focused()
    page.keyboard.type("215")
    page.keyboard.press("Tab")  # to the button
    page.keyboard.press("Enter")
    expect(asked.get_by_role("status")).to_contain_text("✓ Your number: 215. That is close enough")
    assert watched.errors == watched.remote == []


@pytest.mark.parametrize(
    ("typed", "right"),
    [("221", True), ("221,0", True), ("206", True), ("205.9", False), ("2,210", False)],
)
def test_numbers_as_people_write_them(page: Page, typed: str, right: bool) -> None:
    asked = question(page, ASKS_NUMBER)
    asked.get_by_label("My number").fill(typed)
    asked.get_by_role("button", name="Keep my guess").click()
    expect(asked.get_by_role("status")).to_contain_text("✓" if right else "✗")


def test_whoever_does_not_want_to_guess_sees_the_result(page: Page) -> None:
    page.get_by_role("button", name="Show it without a guess").press("Enter")
    output = page.locator(".cell_output", has_text="perplexity  lost").first
    expect(output).to_be_visible()
    expect(output).to_be_focused()
    assert page.evaluate(KEPT) == []


def test_an_option_is_chosen_by_keyboard(page: Page) -> None:
    asked = question(page, CHOICE)
    asked.get_by_role("button", name="Check").click()
    expect(asked.get_by_role("status")).to_have_text("Choose an answer first.")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(asked.get_by_role("radio").nth(2)).to_be_checked()
    expect(asked.locator("details")).not_to_have_attribute("open", "")  # an arrow answers nothing
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(asked.get_by_role("status")).to_have_text("✗ You chose C; D is right.")
    expect(asked.locator("li.is-wrong")).to_contain_text("✗ yours")
    expect(asked.locator("li.is-right")).to_contain_text("✓ right")
    expect(asked.locator("details")).to_contain_text("0.97 is right.")
    expect(asked.get_by_role("button", name="Answer again")).to_be_focused()
    page.reload()
    expect(asked.get_by_role("radio").nth(2)).to_be_checked()
    asked.get_by_role("button", name="Answer again").press("Enter")
    asked.get_by_role("radio").nth(3).check()
    asked.get_by_role("button", name="Check").click()
    expect(asked.get_by_role("status")).to_have_text("✓ D is right.")


def test_a_question_has_a_name_for_those_who_hear_it(page: Page) -> None:
    for asked in page.locator(".question").all():
        name = asked.get_attribute("aria-labelledby")
        assert page.locator(f"#{name}").inner_text().startswith("Question ")
    assert page.locator(".question").count() == 4
    for radio in question(page, CHOICE).get_by_role("radio").all():
        assert radio.evaluate("radio => radio.labels[0].innerText").startswith(tuple("ABCD"))


@pytest.mark.parametrize("watched", [(NARROW, "dark")], indirect=True)
def test_an_answered_question_fits_a_narrow_window(page: Page) -> None:
    for asked in page.locator(".question:has([type=radio])").all():
        asked.get_by_role("radio").first.check()
        asked.get_by_role("button", name="Check").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wider = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".question li").evaluate_all(wider) == 0


def test_where_nothing_is_kept_the_page_works(watched: Watched, built_book: Path) -> None:
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});"
    watched.page.add_init_script(refuse)
    page = watched.open(built_book / PAGE)
    asked = question(page, CHOICE)
    asked.get_by_role("radio").first.check()
    asked.get_by_role("button", name="Check").click()
    expect(asked.get_by_role("status")).to_have_text("✗ You chose A; D is right.")
    assert [error for error in watched.errors if "self_check" in error] == []


def test_without_a_script_everything_can_be_read(browser: Browser, built_book: Path) -> None:
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)
    page = context.new_page()
    page.goto((built_book / PAGE).as_uri())
    expect(page.locator(".cell_output", has_text="perplexity  lost").first).to_be_visible()
    expect(page.get_by_text("Write down a number before you go on.")).to_be_visible()
    expect(page.get_by_text("Row 2: k-means++ should lose about 1.0")).to_be_visible()
    reason = page.get_by_text("What k-means++ draws are movies, too")
    expect(reason).to_be_hidden()
    page.locator(f"#{CHOICE} summary").click()
    expect(reason).to_be_visible()
    context.close()


def test_on_paper_there_is_nothing_to_press_and_every_answer(page: Page) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for pressed in (".question-controls", ".question-cover", ".question input"):
        assert not any(part.is_visible() for part in page.locator(pressed).all()), pressed
    expect(page.locator(".cell_output", has_text="perplexity  lost").first).to_be_visible()
    expect(page.get_by_text("What k-means++ draws are movies, too")).to_be_visible()
    expect(page.get_by_text("Write down a number before you go on.")).to_be_visible()
