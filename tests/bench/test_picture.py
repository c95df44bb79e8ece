from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from aegis_store.bench import picture
from tests.bench.facts import made_figure, made_result

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*figures):
    return ET.fromstring(picture.draw([made_result(*figures)]))


def words(root: ET.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def test_a_bar_says_how_many_times_better_for_rates_and_for_times():
    rate = picture.bar(made_figure([20.0, 40.0], [10.0, 10.0]))
    assert (rate.median, rate.least, rate.most) == (3, 2, 4)
    time = picture.bar(made_figure([5.0, 20.0], [10.0, 10.0], better="less"))
    assert (time.median, time.least, time.most) == (0.8, 0.5, 2)


def test_twice_as_good_and_twice_as_bad_are_as_long_on_either_side_of_one():
    root = drawn(made_figure([20.0], [10.0], title="good"), made_figure([5.0], [10.0], title="bad"))
    good, bad = (each for each in root.iter(f"{SVG}rect") if each.get("class") in ("good", "bad"))
    one = float(next(each for each in root.iter(f"{SVG}line") if each.get("class") == "one").get("x1"))
    assert (good.get("class"), bad.get("class")) == ("good", "bad")
    assert float(good.get("x")) == one == pytest.approx(float(bad.get("x")) + float(bad.get("width")), abs=0.2)
    assert float(good.get("width")) == pytest.approx(float(bad.get("width")), abs=0.2)


def test_every_bar_and_range_stays_between_the_labels_and_the_numbers():
    root = drawn(made_figure([900.0, 9000.0], [1.0, 1.0]), made_figure([1.0], [700.0]))
    spans = [(float(e.get("x")), float(e.get("x")) + float(e.get("width"))) for e in root.iter(f"{SVG}rect") if e.get("x")]
    spans += [tuple(sorted((float(e.get("x1")), float(e.get("x2"))))) for e in root.iter(f"{SVG}line")]
    assert len(spans) > 4
    assert all(picture.LEFT <= low <= high <= picture.WIDTH - picture.RIGHT for low, high in spans)


def test_names_are_words_and_not_markup_and_the_machine_is_named():
    root = drawn(made_figure([20.0], [10.0], title="<script> & co"))
    said = words(root)
    assert "<script> & co" in said and "made-up: so & so" in said and "2.00×" in said
    assert any("a <processor>" in each and "2026-11-22" in each for each in said)


def test_it_asks_for_nothing_from_elsewhere_and_knows_dark_pages():
    text = picture.draw([made_result(made_figure([20.0], [10.0]))])
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|image|use|link)|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text


def test_what_is_no_ratio_has_no_bar():
    assert (
        picture.bars(made_result(made_figure([9.0], [4.0], comparison="over"), made_figure([9.0], [], comparison="alone")))
        == []
    )
    assert words(drawn())[0] == "aegis bench"
    assert ET.fromstring(picture.draw([])).tag == f"{SVG}svg"
