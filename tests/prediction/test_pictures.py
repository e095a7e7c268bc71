import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from kmerl_jax.evaluation import files
from kmerl_jax.prediction import looking, page, paper
from kmerl_jax.prediction.answer import answer
from kmerl_jax.prediction.names import Name, wanted
from kmerl_jax.signals.leads import STANDARD
from tests.prediction.conftest import longer, part


@pytest.fixture(scope="module")
def few(model, ecg):
    """An answer about two leads, where was looked, and the answers with each set of them."""
    one = answer(model, "a</script><b>$1$_x^{$.hea", part(ecg, ("II", "V1")), wanted(model.entities, (), None), None)
    names = [finding.name for finding in one.findings]
    bag = one.windows[0]
    return one, looking.look(model, bag, names), looking.every_subset(model, bag, names)


@pytest.mark.parametrize("leads", [("II",), ("V1", "II", "aVR"), STANDARD[:7], STANDARD])
def test_each_lead_is_on_the_paper(leads):
    strips = paper.layout(leads, 50)
    assert {strip.lead for strip in strips} == set(leads)
    full = [strip for strip in strips if strip.stop - strip.start == 50]
    assert len(full) == (len(leads) if len(leads) <= 6 else 1)


@pytest.mark.parametrize("segments", [3, 12, 20, 37])
def test_of_a_short_recording_each_lead_is_shown_too(segments):
    strips = paper.layout(STANDARD, segments)
    assert {strip.lead for strip in strips} == set(STANDARD)
    for strip in strips:
        assert 0 <= strip.start < strip.stop <= segments
        assert strip.stop - strip.start == min(segments, 12.5) or strip.row == 3


def test_traces_are_what_was_recorded(ecg, model):
    one = answer(model, "a", part(ecg, ("V3", "I"), 5.0), [Name("af")], None)
    traces = paper.traces(one.windows[0])
    np.testing.assert_allclose(traces[STANDARD.index("V3"), :2500], part(ecg, ("V3",), 5.0).signal[0], atol=6e-4)
    assert np.isnan(traces[:, 2500:]).all()
    assert np.isnan(traces[STANDARD.index("II")]).all()


def test_the_paper_is_to_scale(model, ecg):
    """10 s are 250 mm, 1 mV is 10 mm, whatever the resolution."""
    one = answer(model, "a", ecg, [Name("af")], None)
    figure = paper.draw(one, 0, 0, looking.look(model, one.windows[0], ["af"]))
    axes = figure.axes[0]
    mm = figure.dpi / 25.4
    (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (250, 10)])
    assert (x1 - x0, y1 - y0) == pytest.approx((250 * mm, 10 * mm), rel=1e-6)
    lead_one = next(line for line in axes.lines if len(line.get_xdata()) == 1250)
    x, y = lead_one.get_data()
    assert np.ptp(x) == pytest.approx(25 * 2.498, rel=1e-3)
    assert np.ptp(y) == pytest.approx(10 * np.ptp(ecg.signal[0, :1250]), rel=2e-3)


@pytest.mark.parametrize("shown", [{"leads": ("II",), "seconds": 3.0}, {"leads": STANDARD}, {"leads": STANDARD[:8]}])
def test_a_picture_is_written(tmp_path, model, ecg, shown):
    one = answer(model, "$_x^{$" * 50, longer(part(ecg, **shown), 2), wanted(model.entities, (), None), None)
    looked = looking.look(model, one.windows[0], [finding.name for finding in one.findings])
    files.write_picture(tmp_path / "a.png", paper.draw(one, 0, len(one.findings) - 1, looked))
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert min(picture.shape) > 500
    assert 0.001 < (picture < 64).mean() < 0.2, "there is a trace, and it is not all"


def test_a_page_holds_all_that_it_shows(model, few):
    one, looked, subsets = few
    text = page.write(model, one, 0, 1, looked, subsets)
    assert "</script><b>" not in text
    assert not re.search(r"(src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)", text), "nothing is loaded"
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["record"] == "a</script><b>$1$_x^{$.hea"
    assert data["leads"] == ["II", "V1"]
    assert data["sets"] == {}
    assert [each["name"] for each in data["findings"]] == [finding.name for finding in one.findings]
    assert {each["bits"] for each in data["evidence"]} == {1}


@pytest.fixture(scope="module")
def browser():
    """A real one, without a screen."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield opened
        opened.close()


def test_a_page_in_a_browser(tmp_path, model, few, browser):
    one, looked, subsets = few
    leads, table = subsets
    (tmp_path / "a.html").write_text(page.write(model, one, 0, 1, looked, subsets))
    shown, errors, asked = browser.new_page(), [], []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("console", lambda message: errors.append(message.text))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(f"file://{tmp_path / 'a.html'}")
    names = [finding.name for finding in one.findings]

    def values() -> dict[str, str]:
        return {
            item.get_attribute("data-finding"): item.locator(".value").inner_text()
            for item in shown.locator("#findings li").all()
        }

    def expected(row: int) -> dict[str, str]:
        return {name: f"{100 * p:.1f} %" for name, p in zip(names, table[row], strict=True)}

    def close(found: dict[str, str], wanted: dict[str, str]) -> bool:
        return found.keys() == wanted.keys() and all(
            abs(float(found[name].split()[0]) - float(wanted[name].split()[0])) < 0.11 for name in wanted
        )

    assert shown.locator("h1").inner_text().startswith(one.record)
    assert shown.locator("#findings li.chosen").get_attribute("data-finding") == names[1]
    assert close(values(), expected(3))
    assert shown.locator("#ecg rect").count() > 20, "where was looked"
    shown.click("[data-lead=V1]")
    assert close(values(), expected(1 << leads.index("II")))
    assert "near chance" in shown.locator(f"[data-finding='{model.entities[0]}'] .small").inner_text()
    shown.click("[data-lead=II]")
    assert shown.locator("[aria-pressed=true]").count() == 1, "the last lead stays"
    shown.click("[data-set=all]")
    assert close(values(), expected(3))
    shown.click(f"[data-finding='{names[3]}']")
    assert shown.locator("#changes_title").inner_text().startswith(names[3])
    assert shown.locator("#changes span").count() == 2
    shown.fill("#search", names[2])
    assert names[2] in values()
    assert errors == []
    assert [url for url in asked if not url.startswith("file://")] == []
    picture = np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("L"))
    assert (picture < 128).any()
    shown.close()
