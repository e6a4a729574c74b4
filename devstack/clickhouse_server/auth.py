"""The one user of the server."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from devstack.clickhouse_server.errors import Code, ServerError


@dataclass(frozen=True)
class Credentials:
    """The user's name and password; the password stays out of any printed form."""

    user: str
    password: str = field(repr=False)

    def check(self, user: str, password: str) -> None:
        """Compare in a time that tells nothing about how much of it was right.

        Raises:
            ServerError: AUTHENTICATION_FAILED, the same for a wrong name and a wrong password.
        """
        same_user = hmac.compare_digest(user.encode(), self.user.encode())
        same_password = hmac.compare_digest(password.encode(), self.password.encode())
        if not (same_user and same_password):
            raise ServerError(
                Code.AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )
