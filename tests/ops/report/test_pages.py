"""The weekly report as mail, text, file and JSON, which all say the same."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pytest

from offload_core.errors import FixConfiguration
from offload_ops.report.issues import find_issues
from offload_ops.report.model import last_week, week_name
from offload_ops.report.pages import as_file, as_html, as_json_text, as_text, file_name, subject, write
from offload_ops.report.plots import plots
from offload_ops.report.sections import figures, sections
from offload_ops.text import percent
from tests.support.ledger.week_of_ledger import BINANCE, DAY, HOUR, MONDAY, TABLES, W08, eventful

pytestmark = pytest.mark.integration


class _Page(HTMLParser):
    """The visible texts and the images of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))


class TestThePages:
    def test_html_text_and_json_say_the_same(self, written_ledger, make_report):
        report = make_report(eventful(written_ledger))
        text, page, fields = as_text(report), _Page(as_html(report, {})), json.loads(as_json_text(report))

        shown = [figure.value for figure in figures(report)]
        shown += [cell for section in sections(report) for row in section.rows for cell in row if cell]
        assert len(shown) > 80
        for figure in shown:
            assert figure in page.texts
            assert figure in text
        assert f"{fields['rows']:,}" in text
        assert fields["rows"] == sum(table["rows"] for table in fields["tables"]) == report.rows
        assert percent(fields["success_rate"]) in text
        assert percent(fields["uptime"]) in text
        assert percent(fields["in_time"]) in text
        assert len(fields["attention"]) == len(find_issues(report))
        assert fields["tables"][0]["freshness"]["too_late"] == 45 * 60
        assert fields["period"]["start"] == "2026-02-16T00:00:00+00:00"

    def test_programs_find_the_names_that_they_know_in_the_json(self, written_ledger, make_report):
        fields = json.loads(as_json_text(make_report(eventful(written_ledger))))

        assert {"attention", "made_at", "upkeep"} <= fields.keys()
        assert fields["upkeep"].keys() == {"audits", "maintenance"}
        halts = [table["halt"] for table in fields["tables"] if table["halt"]]
        assert [halt.keys() for halt in halts] == [{"since", "why"}]

    def test_every_finding_is_in_the_text_with_its_remedy(self, written_ledger, make_report):
        report = make_report(eventful(written_ledger))
        text = " ".join(as_text(report).split())

        for issue in find_issues(report):
            assert issue.finding in text
            assert issue.remedy in text

    def test_what_an_error_says_is_text_and_never_markup(self, written_ledger, make_report):
        page = as_html(make_report(eventful(written_ledger)), {})

        assert "It lacks &lt;b&gt;10&lt;/b&gt; rows." in page
        assert "<b>10" not in page

    def test_the_file_contains_its_plots_and_loads_nothing(self, written_ledger, make_report):
        report = make_report(eventful(written_ledger))

        page = as_file(report, plots(report))

        images = _Page(page).images
        assert [str(image["src"])[:22] for image in images] == ["data:image/png;base64,"] * 3
        assert all(image["alt"] for image in images)
        assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", page)
        assert "<script" not in page

    def test_pictures_without_anything_to_show_are_left_out(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE)

        assert set(plots(make_report())) == {"lag", "rows"}

    def test_pictures_of_many_tables_and_of_a_long_outage_can_be_drawn(self, written_ledger, make_report):
        tables = [TABLES[0].model_copy(update={"target": f"cold.trades_{number}"}) for number in range(14)]
        for table in tables:
            written_ledger.add(table.name, MONDAY - 70 * DAY, "init")
            written_ledger.add(table.name, W08.end - HOUR, rows=2_000_000_000)

        drawn = plots(make_report(tables=tables))

        assert all(png.startswith(b"\x89PNG") for png in drawn.values())
        assert all(len(png) < 400_000 for png in drawn.values())

    def test_no_secret_gets_in(self, written_ledger, make_report, ledger_database):
        report = make_report(eventful(written_ledger))

        for page in (as_file(report, plots(report)), as_text(report), as_json_text(report)):
            assert ledger_database.password.get_secret_value() not in page

    def test_a_week_is_named_by_its_iso_number(self, make_report):
        report = replace(make_report(), pipeline="iceberg_offload")

        assert report.name == "2026-W08"
        assert file_name(report) == "iceberg-offload-2026-W08.html"
        assert subject(report).startswith("Iceberg offload, 2026-W08: ")

    def test_a_file_is_written_as_a_whole_and_again(self, tmp_path):
        path = tmp_path / "new" / "report.html"

        write(path, "first")
        write(path, "second")

        assert path.read_text() == "second"
        assert [file.name for file in path.parent.iterdir()] == ["report.html"]

    def test_a_file_that_cannot_be_written_says_where_to_choose_another(self, tmp_path):
        (tmp_path / "file").write_text("")

        with pytest.raises(FixConfiguration, match="report_folder"):
            write(tmp_path / "file" / "report.html", "page")


class TestWeeks:
    @pytest.mark.parametrize("moment", [W08.end, W08.end + 9 * HOUR, W08.end + 7 * DAY - timedelta(microseconds=1)])
    def test_the_last_one_is_the_one_that_is_over(self, moment):
        assert last_week(moment) == W08

    def test_the_year_is_that_of_the_iso_week(self):
        assert week_name(datetime.fromisoformat("2027-01-03T00:00:00+00:00")) == "2026-W53"
