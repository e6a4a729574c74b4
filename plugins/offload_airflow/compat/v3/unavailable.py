"""Lets the page's addresses say what is the matter where Airflow 3's API server fails before it comes to them."""

from __future__ import annotations

import logging
from http import HTTPStatus

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offload_airflow.compat.site import Page

log = logging.getLogger(__name__)


class DatabaseDownMiddleware:
    """Takes its place outside all other middlewares, where Airflow finds out who asks: it was given one inside them.

    Args:
        app: what comes next.
        root: the page's path; all other addresses stay as they are.
        page: answers at its addresses.
    """

    def __init__(self, app: ASGIApp, root: str, page: Page) -> None:
        self._app = app
        self._root = root
        self._page = page
        self._is_outside = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes in; the first that comes is the server's own word that it starts."""
        if not self._is_outside:
            airflow = scope["app"]
            airflow.middleware_stack = Guard(airflow.middleware_stack, self._root, self._page)
            self._is_outside = True
        await self._app(scope, receive, send)


class Guard:
    """Answers for an application that fails.

    Args:
        app: the application.
        root: the path below which it does.
        page: has the answer.
    """

    def __init__(self, app: ASGIApp, root: str, page: Page) -> None:
        self._app = app
        self._root = root
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes in, and in place of the server's own word of an error send ours."""
        if scope["type"] != "http" or f"{self._root}/" not in scope["path"]:
            await self._app(scope, receive, send)
            return
        is_answered = has_failed = False

        async def watched(message: Message) -> None:
            nonlocal is_answered, has_failed
            if message["type"] == "http.response.start":
                has_failed = message["status"] == HTTPStatus.INTERNAL_SERVER_ERROR
                is_answered = not has_failed
            if not has_failed:
                await send(message)

        failure: Exception = RuntimeError("Airflow gave no reason")
        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # whatever it is, nobody shall see a stack trace
            if is_answered:
                raise
            log.exception("Airflow could not answer.")
            failure, has_failed = error, True
        if has_failed:
            answer = self._page.unavailable(failure, scope["path"])
            await HTMLResponse(answer.body, answer.status, answer.headers)(scope, receive, send)
