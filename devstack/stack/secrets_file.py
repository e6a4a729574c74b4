"""The generated passwords of one stack, stored only in its state folder (mode 0600)."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from devstack.stack.errors import StateLostError
from devstack.stack.files import write_private


@dataclass(frozen=True, repr=False)
class Secrets:
    """The secrets of the stack; they are never printed."""

    postgres_superuser: str
    postgres_offload: str
    postgres_airflow: str
    clickhouse: str
    airflow_admin: str
    airflow_web: str
    airflow_fernet: str
    airflow_jwt: str

    @classmethod
    def generate(cls) -> Secrets:
        """Return new random secrets."""
        values = {field.name: secrets.token_urlsafe(24) for field in fields(cls)}
        values["airflow_jwt"] = secrets.token_urlsafe(64)
        values["airflow_fernet"] = base64.urlsafe_b64encode(os.urandom(32)).decode()
        return cls(**values)

    @classmethod
    def of_home(cls, home: Path) -> Secrets:
        """Return the secrets of the state folder; the first call generates them.

        Raises:
            StateLostError: the file is damaged, or it is missing while the databases that need it exist.
        """
        file = home / "secrets.json"
        if file.exists():
            try:
                found = json.loads(file.read_text())
                # Folders from before Airflow 3 lack its secret. A new one is fine: no stored data depends on it.
                complete = {"airflow_jwt": secrets.token_urlsafe(64), **found}
                if complete != found:
                    write_private(file, json.dumps(complete, indent=1))
                return cls(**complete)
            except (ValueError, TypeError) as error:
                raise StateLostError(f"{file} is damaged. {_remedy(home)}") from error
        if (home / "postgres" / "PG_VERSION").exists():
            raise StateLostError(
                f"{file} is missing, and PostgreSQL's data in {home} needs its passwords. {_remedy(home)}"
            )
        created = cls.generate()
        write_private(file, json.dumps(asdict(created), indent=1))
        return created


def _remedy(home: Path) -> str:
    return f"Restore the file from a backup, or delete all of {home} (make clean) and start over."
