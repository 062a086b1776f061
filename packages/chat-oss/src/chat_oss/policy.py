"""What may be uploaded: how large, of which types, how much a day."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from attrs import frozen
from chat_common.errors import Invalid
from chat_common.ports.objects import PART_MIN, PARTS_MAX, check_type
from chat_common.settings import setting
from msgspec import Meta

from chat_oss.content import IMAGES
from chat_oss.quota import Quota

MIB = 1024 * 1024
DEFAULT_TYPES = (
    *IMAGES,
    "audio/*",
    "video/*",
    "text/plain",
    "text/csv",
    "text/markdown",
    "application/pdf",
    "application/json",
    "application/zip",
    "application/gzip",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/msword",
    "application/vnd.ms-*",
    "application/vnd.openxmlformats-*",
    "application/vnd.oasis.*",
    "application/octet-stream",
)


@frozen(kw_only=True, slots=False)  # mixed into `FilesSettings`: only one of its bases may have slots
class PolicySettings:
    """Limits of uploads."""

    max_bytes: Annotated[int, Meta(ge=1, le=5 * 1024**3)] = setting(1024 * MIB, help="Largest file, at most 5 GiB.")
    max_picture_bytes: Annotated[int, Meta(ge=1)] = setting(
        20 * MIB, help="Largest picture; it is converted in memory."
    )
    types: tuple[str, ...] = setting(
        DEFAULT_TYPES, help="Media types that are taken; * stands for anything within one."
    )
    daily_files: Annotated[int, Meta(ge=1)] = setting(500, help="Uploads that one user may begin a day (UTC).")
    daily_bytes: Annotated[int, Meta(ge=1)] = setting(2048 * MIB, help="Bytes that one user may announce a day (UTC).")
    new_user_bytes: Annotated[int, Meta(ge=0)] = setting(
        200 * MIB, help="Bytes that an account may announce in its first 24 hours; 0: as others."
    )
    user_bytes: Annotated[int, Meta(ge=0)] = setting(
        10 * 1024 * MIB, help="Bytes that one user may keep, uploads under way included; 0: no bound."
    )
    total_bytes: Annotated[int, Meta(ge=0)] = setting(
        0, help="Bytes that all users together may keep; over it new uploads are refused; 0: no bound."
    )
    parts_above: Annotated[int, Meta(ge=PART_MIN)] = setting(
        32 * MIB, help="Larger files are uploaded in parts and can be resumed."
    )
    part_bytes: Annotated[int, Meta(ge=PART_MIN)] = setting(16 * MIB, help="Size of a part.")


@frozen
class Policy:
    """Answers what may be uploaded and how."""

    settings: PolicySettings

    @property
    def quota(self) -> Quota:
        settings = self.settings
        return Quota(
            files=settings.daily_files,
            bytes=settings.daily_bytes,
            new_bytes=settings.new_user_bytes,
            user_bytes=settings.user_bytes,
            total_bytes=settings.total_bytes,
        )

    def check(self, type: str, size: int) -> None:
        """`Invalid` naming ``type``, or ``size`` with the limit."""
        check_type(type)
        if not any(fnmatchcase(type, pattern) for pattern in self.settings.types):
            raise Invalid(f"type: Files of type {type} are not taken here.", field="type")
        most = self.settings.max_bytes
        if self.is_picture(type):
            most = min(most, self.settings.max_picture_bytes)
        if not 1 <= size <= most:
            raise Invalid(f"size: A file of type {type} may have 1 to {most} bytes.", field="size", limit=most)

    def is_picture(self, type: str) -> bool:
        return type in IMAGES

    def part_size(self, type: str, size: int) -> int:
        """The size of each part but the last; 0: in one piece."""
        if self.is_picture(type) or size <= self.settings.parts_above:
            return 0
        return max(self.settings.part_bytes, -(-size // PARTS_MAX))
