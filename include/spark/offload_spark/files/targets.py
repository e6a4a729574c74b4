"""Where executors write what they fetch: the driver names one file per attempt at a task, for S3 with a signed URL.

Two attempts never write to the same file. If Spark runs a task twice because an executor was lost or slow, there are
two complete files, and the driver commits the one that Spark reports. A signed URL allows writing this one object for
an hour and nothing else, so executors need neither the store's key nor a client for it.
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
"""Names per file. Spark gives up on a task after this many attempts (`spark.task.maxFailures`)."""

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
"""Properties of S3FileIO that change how an object is written and that a plain signed URL does not carry.

https://iceberg.apache.org/docs/latest/aws/
"""
_OFF = ("", "false", "none")


@dataclass(frozen=True)
class Target:
    """One name for one file.

    Attributes:
        location: the file's name in the table's metadata.
        url: where to PUT the file; None for a path of the file system.
        headers: the headers that the signature requires.
    """

    location: str
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


TargetFactory = Callable[[str], Target]
"""Makes the target of a location."""


def local_path(location: str) -> Path | None:
    """The path of a location in this machine's file system; None for other locations (`s3://`, `hdfs://`)."""
    parsed = urlparse(location)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def attempt_targets(location: str, make_target: TargetFactory) -> tuple[Target, ...]:
    """The targets of one file, one for each attempt, in order."""
    stem, dot, suffix = location.rpartition(".")
    names = [location, *(f"{stem}-{attempt}{dot}{suffix}" for attempt in range(1, ATTEMPTS))]
    return tuple(map(make_target, names))


def unsupported_reason(location: str, io: JavaObject) -> str | None:
    """Why executors cannot write a table's files themselves; None if they can.

    Args:
        location: the table's location.
        io: the table's FileIO.
    """
    if local_path(location) is not None:
        return None
    scheme = urlparse(location).scheme
    if scheme != "s3" or io.getClass().getName() != _S3_FILES:
        return f"executors write to shared folders and through Iceberg's S3FileIO, not to {scheme}://"
    properties: Mapping[str, str] = io.properties()
    unsigned = sorted(key for key in properties if key.startswith(_NOT_SIGNED) and properties[key].lower() not in _OFF)
    return f"a signed URL does not carry {', '.join(unsigned)}" if unsigned else None


def target_factory(jvm: JavaObject, location: str, io: JavaObject) -> TargetFactory:
    """Makes targets of locations in a table's folder: plain ones in a file system, signed ones in S3."""
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
    lifetime = jvm.java.time.Duration.ofMinutes(_SIGNED_MINUTES)

    def sign(name: str) -> Target:
        parsed = urlparse(name)
        put = aws.model.PutObjectRequest.builder().bucket(parsed.netloc).key(parsed.path.lstrip("/")).build()
        request = aws.presigner.model.PutObjectPresignRequest.builder()
        signed = presigner.presignPutObject(request.signatureDuration(lifetime).putObjectRequest(put).build())
        headers = {str(key): ",".join(values) for key, values in dict(signed.signedHeaders()).items()}
        return Target(name, str(signed.url().toExternalForm()), headers)

    return sign


def locations(targets: Sequence[Target]) -> list[str]:
    """The locations of targets, and of the partial files that killed attempts may have left beside them."""
    names = [target.location for target in targets]
    return [*names, *(f"{name}.part" for name in names if local_path(name) is not None)]
