"""The page in Airflow's menu, in a real browser and a real Airflow: who sees it, who may act, and that it is right."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, StorageState, expect

from devstack.stack.processes import StackPart
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect
from offload_ops.audit.model import Finding
from tests.support.ledger.alert_tables import MINUTE, AlertTables, job_name
from tests.support.stack import page_logins
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack
from tests.support.stack.airflow_version import AIRFLOW_3
from tests.support.stack.browser import chromium
from tests.support.stack.exporter import running_exporter
from tests.support.stack.logs import deprecated
from tests.support.waiting import wait_until

__all__ = ["chromium"]

HEALTHY, HALTED, CATCHING_UP, LAGGING, FAILING, ELEVATED, DIFFERING, NEVER, _ = (table.name for table in DEFAULT_TABLES)
PIPELINE = Settings().pipeline_id
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 420, "height": 900}

_FAST_REFRESH = (
    "const set = window.setInterval; window.setInterval = (what, every) => set(what, every === 15000 ? 500 : every);"
)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def session(stack: AirflowStack) -> Iterator[LedgerConnection]:
    """A session with the stack's ledger."""
    with closing(connect(stack.connections.postgres, "a test")) as session:
        yield session


@pytest.fixture(scope="module")
def ledger(session: LedgerConnection) -> Ledger:
    return Ledger(session, PIPELINE)


@pytest.fixture(scope="module")
def tables(stack: AirflowStack, session: LedgerConnection) -> Iterator[AlertTables]:
    """Tables in every state. In PostgreSQL's view, one of them has a running job."""
    tables = AlertTables(session, PIPELINE)
    tables.day(HEALTHY, 4 * MINUTE, rows=52_000)
    tables.halted(HALTED)
    run = tables.catching_up(CATCHING_UP)
    tables.day(LAGGING, 34 * MINUTE)
    tables.failing(FAILING)
    tables.day(ELEVATED, 17 * MINUTE)
    tables.day(DIFFERING, 5 * MINUTE)
    for table in (HEALTHY, LAGGING, ELEVATED):
        tables.audit(table, [Finding.EQUAL] * 6)
    tables.audit(DIFFERING, [Finding.EQUAL] * 4 + [Finding.LATE] * 2)
    # The DAG stays paused, like every new DAG, so that no scheduled run changes anything.
    with closing(connect(stack.connections.postgres, job_name(CATCHING_UP, run))):
        yield tables


@pytest.fixture(scope="module")
def logins(stack: AirflowStack, chromium: Browser) -> dict[str, StorageState]:
    """The browser state of a logged-in viewer and a logged-in operator."""
    return page_logins.logins(stack, chromium)


@pytest.fixture
def open_page(
    request: pytest.FixtureRequest, stack: AirflowStack, chromium: Browser, logins: dict[str, StorageState]
) -> Iterator[Open]:
    """Opens the page as one of the users, in a browser context of their own."""
    request.getfixturevalue("tables")
    contexts: list[BrowserContext] = []

    def open_page(name: str, path: str = "/iceberg-offload/", **how: Any) -> Page:
        contexts.append(
            chromium.new_context(base_url=stack.url, storage_state=logins[name], **{"viewport": WIDE, **how})
        )
        page = contexts[-1].new_page()
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()


def post(page: Page, path: str) -> tuple[int, str]:
    """Send a form as the page does, with its CSRF token. Returns status and text of the answer."""
    fields = page.locator("input[name=csrf_token]")
    # Airflow 2's frame has a form of its own. On 3 only users who may act get the token.
    token = fields.first.get_attribute("value") if fields.count() else ""
    answer = page.request.post(path, form={"csrf_token": str(token)}, headers={"Referer": page.url})
    return answer.status, answer.text()


def runs(stack: AirflowStack) -> list[dict[str, object]]:
    """The DAG's manual runs from Airflow's API, newest first."""
    return [run for run in stack.api.runs(DAG_ID) if run["run_type"] == "manual"]


def in_airflows_menu(page: Page) -> Page | FrameLocator:
    """The page as Airflow's menu opens it: on 2 as a page of its own, on 3 in a frame of the web interface."""
    page.get_by_role("link", name="Iceberg Offload").click()
    return page.frame_locator("iframe[title='Iceberg Offload']") if AIRFLOW_3 else page


class TestAgreement:
    def test_page_metrics_and_command_say_the_same(self, stack: AirflowStack, open_page: Open):
        page = open_page("viewer")
        command = {fields["table"]: fields for fields in json.loads(stack.offload("status", "--json"))}
        with running_exporter(stack.connections.postgres, PIPELINE) as exporter:
            metrics = exporter.scrape()

        for table in (HEALTHY, LAGGING, CATCHING_UP, HALTED, FAILING, NEVER):
            row, shown = page.locator(f"[data-table={table}]"), command[table]
            assert row.get_attribute("data-state") == shown["state"]
            assert row.get_attribute("data-failures") == str(shown["failures"])
            assert metrics.value("offload_consecutive_failures", table=table) == shown["failures"]
            lag, metric = row.get_attribute("data-lag-minutes"), metrics.value("offload_lag_minutes", table=table)
            if table == NEVER:
                assert (lag, shown["lag_minutes"]) == (None, None)
                assert table not in metrics.by_table("offload_last_success_timestamp")
                continue
            assert float(lag or -1) == pytest.approx(shown["lag_minutes"], abs=1)
            assert float(lag or -1) == pytest.approx(metric, abs=1)
            assert row.get_attribute("data-lag-level") == shown["lag_level"]
            watermark = str(row.get_attribute("data-watermark"))
            assert watermark == shown["watermark"]

    def test_each_state_has_its_word(self, open_page: Open):
        page = open_page("viewer")
        words = {
            HEALTHY: "Good",
            HALTED: "Halted",
            CATCHING_UP: "Catching up",
            LAGGING: "Late",
            FAILING: "Failing",
            NEVER: "Never offloaded",
        }

        for table, word in words.items():
            expect(page.locator(f"[data-table={table}] .badge")).to_have_text(word)
        expect(page.locator(f"[data-table={LAGGING}]")).to_contain_text("Critical")

    def test_the_chunks_of_a_running_job_are_those_of_the_metrics(self, stack: AirflowStack, open_page: Open):
        row = open_page("viewer").locator(f"[data-table={CATCHING_UP}]")
        with running_exporter(stack.connections.postgres, PIPELINE) as exporter:
            metrics = exporter.scrape()

        assert (
            float(row.get_attribute("data-chunks") or 0) == metrics.value("offload_run_chunks", table=CATCHING_UP) == 3
        )
        assert float(row.get_attribute("data-rows") or 0) == metrics.value("offload_run_rows", table=CATCHING_UP)
        assert metrics.value("offload_job_running_seconds", table=CATCHING_UP) > 0


class TestPermissions:
    def test_somebody_who_is_not_logged_in_is_asked_to(self, stack: AirflowStack, chromium: Browser):
        with chromium.new_context(base_url=stack.url) as context:
            page = context.new_page()
            page.goto("/iceberg-offload/")
            assert "/login" in page.url
            assert page.request.get("/iceberg-offload/content", headers={"X-Requested-With": "fetch"}).status == 401

    def test_logging_in_leads_back_to_the_page(
        self, request: pytest.FixtureRequest, stack: AirflowStack, chromium: Browser
    ):
        request.getfixturevalue("tables")
        with chromium.new_context(base_url=stack.url) as context:
            page = context.new_page()
            page.goto("/iceberg-offload/")
            page_logins.log_in(page, "admin", stack.password)

            expect(page.get_by_role("heading", level=1)).to_contain_text("of 9 tables need you")

    def test_a_viewer_finds_the_page_in_the_menu_and_sees_everything(self, open_page: Open):
        page = in_airflows_menu(open_page("viewer", "/home" if not AIRFLOW_3 else "/"))

        expect(page.get_by_role("heading", level=1)).to_contain_text("of 9 tables need you")
        expect(page.get_by_role("row")).to_have_count(1 + 3 + 9 + 4)
        expect(page.get_by_text(f"offload resume {HALTED}")).to_be_visible()

    def test_a_viewer_has_no_buttons_and_no_way_around(self, stack: AirflowStack, open_page: Open, ledger: Ledger):
        page = open_page("viewer")
        before = runs(stack)

        assert page.locator(".offload .button").count() == 0
        for action in ("run", "verify", "resume"):
            path = f"/iceberg-offload/{action}/{HALTED}"
            status, text = post(page, path)
            assert status == 403
            assert "can edit" in text
            assert page.request.get(path).status == 403
        assert runs(stack) == before
        assert HALTED in ledger.halts()

    def test_a_form_without_its_token_is_refused(self, stack: AirflowStack, open_page: Open):
        page = open_page("operator")
        before = runs(stack)

        assert page.request.post(f"/iceberg-offload/run/{HEALTHY}", form={}).status == 400

        assert runs(stack) == before


class TestActions:
    def test_an_operator_runs_one_table(self, stack: AirflowStack, open_page: Open):
        page = open_page("operator")

        page.get_by_role("link", name=f"Run now {HEALTHY}").click()
        expect(page.get_by_text(f"offloads only {HEALTHY}")).to_be_visible()
        expect(page.get_by_text("The DAG is paused")).to_be_visible()
        page.get_by_role("button", name="Run now").click()

        expect(page.get_by_role("status").first).to_contain_text(f"{HEALTHY}: a run was triggered.")
        run = runs(stack)[0]
        assert run["conf"] == {"tables": [HEALTHY]}
        page.get_by_role("link", name="Follow the run").click()
        assert str(run["dag_run_id"]) in unquote(page.url)

    def test_the_message_is_shown_once(self, open_page: Open):
        page = open_page("operator", f"/iceberg-offload/run/{LAGGING}")
        page.get_by_role("button", name="Run now").click()
        expect(page.locator(".offload-done")).to_be_visible()

        page.reload()

        expect(page.locator(".offload-done")).to_have_count(0)

    def test_an_operator_verifies_an_interval_and_a_wrong_one_is_not_lost(self, stack: AirflowStack, open_page: Open):
        page = open_page("operator")
        before = len(runs(stack))

        page.get_by_role("link", name=f"Verify … {HEALTHY}").click()
        page.get_by_label("From (UTC)").fill("2026-11-20T12:00:00")
        page.get_by_label("To (UTC)").fill("2026-11-20T10:00:00")
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_role("alert")).to_contain_text("must lie after")
        expect(page.get_by_label("From (UTC)")).to_have_value(re.compile("2026-11-20T12:00"))
        assert len(runs(stack)) == before
        page.get_by_label("From (UTC)").fill("2026-11-20T08:00:00")
        page.get_by_role("button", name="Verify").click()

        expect(page.get_by_role("status").first).to_contain_text("verifying was triggered")
        assert runs(stack)[0]["conf"] == {
            "mode": "verify",
            "tables": [HEALTHY],
            "from": "2026-11-20T08:00:00+00:00",
            "to": "2026-11-20T10:00:00+00:00",
        }

    def test_an_operator_reads_why_a_table_was_halted_and_resumes_it(
        self, stack: AirflowStack, open_page: Open, ledger: Ledger
    ):
        answer = stack.offload("resume", HALTED, "--dry-run")
        page = open_page("operator")

        page.get_by_role("link", name=f"Resume … {HALTED}").click()
        for line in answer.splitlines()[1:4]:
            expect(page.locator(".offload-question")).to_contain_text(line.strip().replace("`", ""))
        assert HALTED in ledger.halts()
        page.get_by_role("button", name=f"Resume {HALTED}").click()

        expect(page.get_by_role("status").first).to_contain_text(f"{HALTED}: resumes from")
        assert HALTED not in ledger.halts()
        assert ledger.history(HALTED, 1)[0].kind == "resume"
        assert stack.api.events(DAG_ID, "iceberg_offload.resume")[0]["owner"] == "operator"

    def test_a_table_that_is_not_halted_says_so_and_what_to_do(self, open_page: Open):
        page = open_page("operator", f"/iceberg-offload/resume/{HEALTHY}")

        expect(page.get_by_role("alert")).to_contain_text("is not halted; there is nothing to resume")
        page.get_by_role("link", name="Back to the tables").click()
        expect(page.locator(f"[data-table={HEALTHY}]")).to_be_visible()

    def test_a_table_that_does_not_exist_is_refused(self, open_page: Open):
        page = open_page("operator", "/iceberg-offload/run/nothing")

        expect(page.get_by_role("alert")).to_contain_text("There is no table nothing that is switched on")


class TestRefresh:
    @pytest.fixture
    def page(self, open_page: Open) -> Page:
        """The page, refreshed every half second. A reload would remove its mark."""
        page = open_page("viewer", "/health")
        page.add_init_script(_FAST_REFRESH)
        page.goto("/iceberg-offload/")
        page.evaluate("window.mark = true")
        return page

    def test_the_content_is_refreshed_and_focus_and_open_details_stay(self, page: Page):
        content = page.locator(".offload-content")
        generated = str(content.get_attribute("data-made"))
        page.locator(f"#name-{HEALTHY}").click()
        page.locator(f"#run-{HEALTHY}, #name-{HALTED}").last.focus()
        focused = page.evaluate("document.activeElement.id")

        expect(content).not_to_have_attribute("data-made", generated)
        assert page.evaluate("window.mark")
        assert page.evaluate("document.activeElement.id") == focused
        expect(page.locator(f"#more-{HEALTHY}")).to_have_attribute("open", "")

    def test_the_page_says_that_airflow_does_not_answer_until_it_does(self, page: Page):
        page.route("**/iceberg-offload/content", lambda route: route.abort())
        expect(page.locator("#offload-stale")).to_contain_text("Airflow does not answer")
        expect(page.locator(f"[data-table={HEALTHY}]")).to_be_visible()

        page.unroute("**/iceberg-offload/content")

        expect(page.locator("#offload-stale")).to_be_hidden()

    def test_somebody_whose_session_is_over_is_asked_to_log_in_again(self, page: Page):
        message = page.locator("#offload-stale")

        def is_shown() -> bool:
            # An answer that is still on its way brings the session cookie back.
            page.context.clear_cookies()
            return message.is_visible()

        wait_until(is_shown, "the page to notice", seconds=20)

        expect(message).to_contain_text("you are logged out")
        expect(page.get_by_role("link", name="Log in again")).to_be_visible()

    def test_an_unreadable_configuration_is_shown_with_its_remedy(self, stack: AirflowStack, page: Page):
        stack.api.set_variable("iceberg_offload_settings", "{")
        try:
            expect(page.get_by_role("alert")).to_contain_text("is not valid JSON")
            answer = page.request.get("/iceberg-offload/")
            assert answer.status == 503
            assert "Traceback" not in answer.text()
        finally:
            stack.api.delete_variable("iceberg_offload_settings")
        expect(page.locator(f"[data-table={HEALTHY}]")).to_be_visible()


@pytest.mark.skipif(not AIRFLOW_3, reason="only Airflow 3 shows the page in a frame")
class TestFrame:
    def test_an_action_stays_in_the_frame_and_what_leads_away_takes_the_whole_window(self, open_page: Open):
        page = open_page("operator", "/")
        framed = in_airflows_menu(page)

        framed.get_by_role("link", name=f"Verify … {HEALTHY}").click()
        expect(framed.get_by_role("heading", name=f"Verify {HEALTHY}?")).to_be_visible()
        page.wait_for_url(f"**/plugin/iceberg-offload/iceberg-offload/verify/{HEALTHY}")
        page.reload()
        framed.get_by_role("link", name="Cancel").click()
        framed.get_by_role("link", name=DAG_ID).click()

        page.wait_for_url(f"**/dags/{DAG_ID}")
        expect(page.locator("iframe[title='Iceberg Offload']")).to_have_count(0)

    def test_alone_the_page_leads_back_to_airflow(self, open_page: Open):
        page = open_page("viewer")
        page.get_by_role("link", name="Airflow", exact=True).click()

        page.wait_for_url(re.compile(r":\d+/$"))

    def test_no_other_site_may_show_it_in_a_frame(self, open_page: Open):
        answer = open_page("viewer").request.get("/iceberg-offload/")

        assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.skipif(not AIRFLOW_3, reason="the webserver of 2.11 draws it: tests/integration/test_reruns.py")
class TestTriggerForm:
    def test_it_has_a_field_for_each_and_nobody_types_json(self, stack: AirflowStack, open_page: Open):
        page = open_page("operator", f"/dags/{DAG_ID}")
        page.get_by_role("button", name="Trigger").first.click()
        form = page.get_by_role("dialog")
        expect(form).to_contain_text(re.compile("Mode.*Tables.*Layers.*From.*To", re.DOTALL))
        expect(form).to_contain_text("What the run does. All modes except offload need from and to.")

        form.get_by_role("combobox", name="Select one or multiple values").first.press("ArrowDown")
        page.get_by_role("option", name=HEALTHY).click()
        form.get_by_role("button", name="Trigger").last.click()

        page.wait_for_url(f"**/dags/{DAG_ID}/runs/**")
        run = runs(stack)[0]
        try:
            assert run["conf"] == {"mode": "offload", "tables": [HEALTHY], "layers": [], "from": None, "to": None}
        finally:
            stack.api.delete_run(DAG_ID, str(run["dag_run_id"]))


class TestLogs:
    def test_nothing_that_people_look_at_makes_airflow_warn_of_later_versions(
        self, stack: AirflowStack, open_page: Open
    ):
        page = open_page("operator")
        for path in ("/", f"/dags/{DAG_ID}", "/iceberg-offload/"):
            page.goto(path)
            page.wait_for_load_state("networkidle")

        assert deprecated(stack.layout.logs) == []


class TestAppearance:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
    def test_it_fits_the_window_and_follows_the_readers_scheme(
        self, open_page: Open, scheme: str, viewport: dict[str, int]
    ):
        page = open_page("operator", viewport=viewport, color_scheme=scheme)

        for width in (viewport["width"], 1190, 1101, 1100, 601, 360):
            page.set_viewport_size({**viewport, "width": width})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.querySelector('.offload')).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", ground)[:3])) > 600 if scheme == "light" else ground == "rgb(15, 20, 26)"

    def test_everything_can_be_reached_by_keyboard(self, open_page: Open):
        page = open_page("operator")
        page.locator(f"#name-{HEALTHY}").focus()

        page.keyboard.press("Enter")
        expect(page.locator(f"#more-{HEALTHY}")).to_have_attribute("open", "")
        page.keyboard.press("Tab")

        assert page.evaluate("document.activeElement.matches('.offload a')")
        page.locator(f"#do-1-{HEALTHY}").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=f"Run {HEALTHY} now?")).to_be_visible()


class TestAirflowUnavailable:
    """This class comes last: it stops PostgreSQL, which has Airflow's own database as well as the ledger."""

    def test_an_open_page_and_a_new_one_say_what_is_wrong(self, stack: AirflowStack, open_page: Open):
        page = open_page("viewer", "/health")
        page.add_init_script(_FAST_REFRESH)
        page.goto("/iceberg-offload/")
        postgres = StackPart(stack.layout, "postgres").process()
        assert postgres is not None
        postgres.send_signal(signal.SIGINT)
        postgres.wait(30)

        expect(page.get_by_role("alert")).to_contain_text("Check that Airflow's database")
        answer = page.request.get("/iceberg-offload/")
        assert answer.status == 503
        assert "Airflow's database can't be read" in unescape(answer.text())
        assert "Traceback" not in answer.text()
