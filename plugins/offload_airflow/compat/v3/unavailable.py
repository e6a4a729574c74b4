"""Answers for the page's addresses when Airflow 3's API server fails before it reaches them."""

from __future__ import annotations

import logging
from http import HTTPStatus

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offload_airflow.compat.site import Page

log = logging.getLogger(__name__)


class DatabaseDownMiddleware:
    """Puts a `Guard` around all other middlewares, including the one in which Airflow identifies the user.

    Airflow adds the middlewares of plugins inside its own. So the guard is installed with the first message.

    Args:
        app: the next application.
        root: the page's path; all other addresses stay as they are.
        page: answers at the page's addresses.
    """

    def __init__(self, app: ASGIApp, root: str, page: Page) -> None:
        self._app = app
        self._root = root
        self._page = page
        self._is_installed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a message on. The first one tells that the server starts, before any request."""
        if not self._is_installed:
            airflow = scope["app"]
            airflow.middleware_stack = Guard(airflow.middleware_stack, self._root, self._page)
            self._is_installed = True
        await self._app(scope, receive, send)


class Guard:
    """Answers for an application that fails.

    Args:
        app: the application.
        root: the path below which the guard answers.
        page: has the answer.
    """

    def __init__(self, app: ASGIApp, root: str, page: Page) -> None:
        self._app = app
        self._root = root
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and replace the server's own error page."""
        if scope["type"] != "http" or f"{self._root}/" not in scope["path"]:
            await self._app(scope, receive, send)
            return
        is_answered = has_failed = False

        async def send_unless_failed(message: Message) -> None:
            nonlocal is_answered, has_failed
            if message["type"] == "http.response.start":
                has_failed = message["status"] == HTTPStatus.INTERNAL_SERVER_ERROR
                is_answered = not has_failed
            if not has_failed:
                await send(message)

        failure: Exception = RuntimeError("Airflow gave no reason")
        try:
            await self._app(scope, receive, send_unless_failed)
        except Exception as error:  # a browser must never see a stack trace
            if is_answered:
                raise
            log.exception("Airflow could not answer.")
            failure, has_failed = error, True
        if has_failed:
            answer = self._page.unavailable(failure, scope["path"])
            await HTMLResponse(answer.body, answer.status, answer.headers)(scope, receive, send)
