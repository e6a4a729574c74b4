"""An INSERT over the native protocol; its blocks go to the engine through a pipe."""

from __future__ import annotations

import threading
from collections.abc import Callable

from devstack.clickhouse_server.cancellation import RunningQueries, RunningQuery
from devstack.clickhouse_server.errors import ServerError
from devstack.clickhouse_server.native.block import Block
from devstack.clickhouse_server.pipes import RowsPipe
from devstack.clickhouse_server.session import EngineSession

_POLL_SECONDS = 0.02


class NativeInsert:
    """Runs the INSERT in its own thread while the connection's thread writes blocks."""

    def __init__(self, session: EngineSession, query: RunningQuery, statement: Callable[[str, str], str]) -> None:
        """Start the INSERT; `statement` returns its text for the pipe's path and the format's name."""
        self._query = query
        self._pipe = RowsPipe()
        self._error: BaseException | None = None
        self._refused = False
        text = statement(self._pipe.path, "Native")
        self._thread = threading.Thread(target=self._execute, args=(session, text), name="native-insert", daemon=True)
        self._thread.start()

    def append(self, block: Block) -> None:
        """Write a block; if the engine has stopped reading, drop it, and `finish` raises the reason."""
        if block.rows and not self._refused:
            try:
                self._pipe.write(block.native())
            except BrokenPipeError:
                self._refused = True

    def finish(self) -> None:
        """End the rows; on return they are in the table.

        Raises:
            ServerError: the engine cannot read or write the rows.
        """
        self._pipe.close_writing()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self, queries: RunningQueries) -> None:
        """Cancel the INSERT. The engine must know that before it reaches the end of the rows, or it commits them."""
        queries.cancel(self._query)
        while self._thread.is_alive() and not self._query.killed.wait(_POLL_SECONDS):
            pass
        self._pipe.close_writing()
        self._thread.join()

    def _execute(self, session: EngineSession, text: str) -> None:
        try:
            session.execute(text)
        except ServerError as error:
            self._error = error
        finally:
            self._pipe.close_reading()
