"""The login of the server's only user."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from devstack.clickhouse_server.errors import Code, ServerError


@dataclass(frozen=True)
class Credentials:
    """The user's name and password; `repr` does not show the password."""

    user: str
    password: str = field(repr=False)

    def check(self, user: str, password: str) -> None:
        """Compare in constant time, so that the duration reveals nothing about the password.

        Raises:
            ServerError: AUTHENTICATION_FAILED, with the same text for a wrong name and a wrong password.
        """
        same_user = hmac.compare_digest(user.encode(), self.user.encode())
        same_password = hmac.compare_digest(password.encode(), self.password.encode())
        if not (same_user and same_password):
            raise ServerError(
                Code.AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )
