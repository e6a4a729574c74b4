"""The HTML of the page is accessible, and shows all foreign text as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from markupsafe import Markup

from offload_core.config.connections import PostgresConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, parse_tables
from offload_core.errors import LedgerUnavailable, OffloadError, RunInit
from offload_ops.status_page.compute import page_unavailable
from offload_ops.status_page.model import Question, StatusPage
from offload_ops.status_page.read import read_page_data
from offload_ops.status_page.render import asset, content, framed, live, question, refusal
from tests.support.documents.shown_html import ShownHtml
from tests.support.ledger.alert_tables import CANDLES, KRAKEN, MINUTE, TRADES, AlertTables
from tests.support.stack.servers import postgres_database

pytestmark = pytest.mark.integration


MakePage = Callable[..., StatusPage]


class TestHtml:
    @pytest.fixture
    def mixed(self, alert_tables: AlertTables, make_page: MakePage) -> StatusPage:
        alert_tables.day(TRADES, 4 * MINUTE)
        alert_tables.halted(KRAKEN)
        alert_tables.failing(CANDLES)
        return make_page(tables=DEFAULT_TABLES)

    def test_ids_are_unique_and_every_link_has_one_so_that_a_refresh_can_keep_the_focus(self, mixed: StatusPage):
        shown = ShownHtml(content(mixed))

        assert [name for name, count in Counter(shown.all("id")).items() if count > 1] == []
        linked = [attributes for tag, attributes in shown.elements if tag in ("a", "button", "summary")]
        assert all("id" in attributes for attributes in linked)

    def test_nothing_that_a_strict_content_security_policy_refuses(self, mixed: StatusPage):
        form = Question("Sure?", ["It runs."], "Go", "/post", "/back")
        pages = [live(content(mixed), "/content"), question(form), refusal("No.", "Ask.", "/back")]

        for shown in map(ShownHtml, pages):
            assert not {"script", "style", "link"} & {tag for tag, _ in shown.elements}
            assert not [
                name
                for _, attributes in shown.elements
                for name in attributes
                if name == "style" or name.startswith("on")
            ]

    def test_what_comes_from_servers_and_operators_is_shown_as_text(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.day(TRADES, 20 * MINUTE)
        alert_tables.row(
            TRADES, MINUTE, "failure", run='"><img src=x>', error=("other", "<script>alert(1)</script> `<b>x</b>`")
        )

        html = str(content(make_page(TRADES)))

        assert "<script" not in html
        assert "<img" not in html
        assert "<b>" not in html
        assert "<code>&lt;b&gt;x&lt;/b&gt;</code>" in html

    def test_headers_and_cells_keep_their_roles_when_narrow_windows_show_them_as_cards(self, mixed: StatusPage):
        roles = Counter(ShownHtml(content(mixed)).all("role"))

        assert roles["columnheader"] == 8
        assert roles["rowheader"] == 9 + 3
        assert roles["cell"] >= 9 * 7

    def test_a_question_keeps_what_was_typed_and_says_what_was_wrong_with_it(self):
        form = Question(
            "Sure?", ["`a` <b>"], "Go", "/post", "/back", hidden=[("dag_id", "d")], problem="`to` is missing"
        )

        html = str(question(form, [("csrf_token", "secret")]))

        assert 'name="csrf_token" value="secret"' in html
        assert 'name="dag_id" value="d"' in html
        assert "<code>a</code> &lt;b&gt;" in html
        assert "<code>to</code> is missing" in html

    def test_the_page_has_three_files_and_no_others(self):
        for name in ("page.css", "page.js", "icon.svg"):
            found = asset(name)
            assert found is not None
            assert b"http" not in found[0].replace(b"http-equiv", b"").replace(b"http://www.w3.org/2000/svg", b"")
        assert asset("../render.py") is None

    def test_a_page_of_its_own_takes_style_and_script_from_its_own_addresses_and_has_none_inside(self):
        files = {"css": "/x/page.css", "js": "/x/page.js"}

        html = str(framed(Markup("<p>all of it</p>"), files, root="/x", home="/airflow/"))

        assert "<p>all of it</p>" in html
        assert '<link rel="stylesheet" href="/x/page.css">' in html
        assert '<script src="/x/page.js" defer></script>' in html
        assert 'data-root="/x"' in html
        assert html.count("<script") == 1
        assert "<style" not in html


class TestUnreadable:
    def test_an_unreachable_ledger_is_reported_with_the_remedy(self, ledger_database: PostgresConnection):
        unreachable = ledger_database.model_copy(update={"port": 1})

        with pytest.raises(LedgerUnavailable) as caught:
            read_page_data(unreachable, DEFAULT_TABLES, Settings())
        shown = ShownHtml(content(page_unavailable(caught.value, Settings(), datetime.now(timezone.utc))))

        assert "The ledger can't be read" in shown.text
        assert "Start it or correct the ledger's Connection" in shown.text
        assert "Runbook iceberg-offload-watermark-recovery.md" in shown.text

    def test_a_database_without_a_ledger_asks_for_init(self, ledger_database: PostgresConnection):
        with postgres_database(ledger_database, "offload_test") as empty, pytest.raises(RunInit) as caught:
            read_page_data(empty, DEFAULT_TABLES, Settings())

        assert "Run `offload init`" in str(caught.value)

    def test_a_wrong_configuration_is_no_broken_ledger(self):
        with pytest.raises(OffloadError) as caught:
            parse_tables("{}")

        page = page_unavailable(caught.value, None, datetime.now(timezone.utc))

        assert page.headline.startswith("The configuration is wrong")
        assert page.runbook is None
