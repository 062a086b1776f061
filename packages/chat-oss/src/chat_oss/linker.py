"""What clients learn about finished files: their facts, and short-lived links to them. Does no I/O with the store."""

from __future__ import annotations

from chat_common.ports.files import FileFacts, LinkedFile
from chat_common.ports.objects import Link, ObjectStore
from msgspec import UNSET, UnsetType

from chat_oss.content import may_be_shown
from chat_oss.keys import content_key
from chat_oss.upload import Upload


class Linker:
    """Makes links that work for ``seconds``."""

    def __init__(self, store: ObjectStore, seconds: int) -> None:
        self._store = store
        self._seconds = seconds

    def linked(self, upload: Upload) -> LinkedFile:
        """A file with its links. Only what can do no harm is shown in place; all else is saved."""
        assert upload.content is not None
        shown = may_be_shown(upload.type)
        link = self._store.download_link(
            content_key(upload.content, "original"),
            seconds=self._seconds,
            name=upload.name,
            type=upload.type if shown else "application/octet-stream",
            inline=shown,
            utf8=shown and upload.utf8,
        )
        return LinkedFile(
            file=upload.file,
            name=upload.name,
            type=upload.type,
            size=upload.stored_size,
            url=link.url,
            expires_at=link.expires_at,
            small=self._preview(upload, "small") if upload.width else UNSET,
            large=self._preview(upload, "large") if upload.large else UNSET,
            width=_or_unset(upload.width),
            height=_or_unset(upload.height),
        )

    def _preview(self, upload: Upload, variant: str) -> str:
        return self.shown(upload, variant).url

    def shown(self, upload: Upload, variant: str) -> Link:
        """A link to one of the variants of a picture."""
        assert upload.content is not None
        key = content_key(upload.content, variant)
        return self._store.download_link(key, seconds=self._seconds, inline=True)

    def avatar(self, upload: Upload, *, large: bool) -> Link:
        """A link to the picture of a profile. One that is not larger than its large thumbnail has none."""
        return self.shown(upload, ("large" if upload.large else "original") if large else "small")


def facts(upload: Upload) -> FileFacts:
    """What the sender learns about a finished file."""
    return FileFacts(
        file=upload.file,
        name=upload.name,
        type=upload.type,
        size=upload.stored_size,
        width=_or_unset(upload.width),
        height=_or_unset(upload.height),
        animated=upload.animated or UNSET,
        unstripped=upload.unstripped or UNSET,
    )


def _or_unset(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value
