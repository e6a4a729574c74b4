"""Where executors put what they fetch: names that the driver gives out, one for each attempt of a task, and for S3 a signed URL with each.

An attempt never writes to another one's name: a task that Spark runs twice, because an executor was lost or slow, leaves two whole files,
of which the driver commits the one that it was told of. A signed URL lets its holder write this one object for an hour, and nothing else:
executors need neither the store's key nor a client for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

if TYPE_CHECKING:
    from offload_spark.runtime.jvm import JavaObject

ATTEMPTS = 4
"""Names per file: Spark gives a task up after as many attempts (`spark.task.maxFailures`)."""

_SIGNED_MINUTES = 60
_S3_FILES = "org.apache.iceberg.aws.s3.S3FileIO"
_NOT_SIGNED = (
    "s3.sse.",
    "s3.acl",
    "s3.write.",
    "s3.remote-signing-enabled",
    "s3.acceleration-enabled",
    "s3.dualstack-enabled",
    "s3.access-points.",
    "s3.access-grants.",
)
"""Properties of S3FileIO that change how an object is written, and that a plain signed URL would leave out.

https://iceberg.apache.org/docs/latest/aws/
"""
_OFF = ("", "false", "none")


@dataclass(frozen=True)
class Target:
    """One name for one file.

    Attributes:
        location: where the table will look for it.
        url: where to PUT it; None for a path of the file system.
        headers: what the signature demands to be sent with it.
    """

    location: str
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


Sign = Callable[[str], Target]
"""Makes a target of a location."""


def local_path(location: str) -> Path | None:
    """The path of a location on this machine's own file system, None for any other (`s3://`, `hdfs://`)."""
    parsed = urlparse(location)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def attempts_of(location: str, sign: Sign) -> tuple[Target, ...]:
    """The targets of one file, by the number of the attempt."""
    stem, dot, suffix = location.rpartition(".")
    return tuple(sign(f"{stem}-{attempt}{dot}{suffix}" if attempt else location) for attempt in range(ATTEMPTS))


def obstacle(location: str, io: JavaObject) -> str | None:
    """Why executors can't write a table's files themselves, None where they can.

    Args:
        location: the table's.
        io: its FileIO.
    """
    if local_path(location) is not None:
        return None
    scheme = urlparse(location).scheme
    if scheme != "s3" or io.getClass().getName() != _S3_FILES:
        return f"executors write to shared folders and through Iceberg's S3FileIO, not to {scheme}://"
    properties: Mapping[str, str] = io.properties()
    found = sorted(key for key in properties if key.startswith(_NOT_SIGNED) and properties[key].lower() not in _OFF)
    return f"a signed URL does not carry {', '.join(found)}" if found else None


def signer(jvm: JavaObject, location: str, io: JavaObject) -> Sign:
    """What makes targets of locations in a table's folder: plain ones for a file system, signed ones for S3."""
    if local_path(location) is not None:
        return Target
    client = io.client(location).serviceClientConfiguration()
    aws = jvm.software.amazon.awssdk.services.s3
    path_style = str(io.properties().get("s3.path-style-access") or "").lower() == "true"
    builder = (
        aws.presigner.S3Presigner.builder()
        .region(client.region())
        .credentialsProvider(client.credentialsProvider())
        .serviceConfiguration(aws.S3Configuration.builder().pathStyleAccessEnabled(path_style).build())
    )
    if client.endpointOverride().isPresent():
        builder = builder.endpointOverride(client.endpointOverride().get())
    presigner = builder.build()
    lasts = jvm.java.time.Duration.ofMinutes(_SIGNED_MINUTES)

    def sign(name: str) -> Target:
        parsed = urlparse(name)
        put = aws.model.PutObjectRequest.builder().bucket(parsed.netloc).key(parsed.path.lstrip("/")).build()
        request = aws.presigner.model.PutObjectPresignRequest.builder()
        signed = presigner.presignPutObject(request.signatureDuration(lasts).putObjectRequest(put).build())
        headers = {str(key): ",".join(values) for key, values in dict(signed.signedHeaders()).items()}
        return Target(name, str(signed.url().toExternalForm()), headers)

    return sign


def locations(targets: Sequence[Target]) -> list[str]:
    """The names of targets, and of what an attempt that was killed may have left beside them."""
    names = [target.location for target in targets]
    return [*names, *(f"{name}.part" for name in names if local_path(name) is not None)]
