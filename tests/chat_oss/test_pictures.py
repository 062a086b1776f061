from __future__ import annotations

import struct
import zlib

import pytest
from chat_common.errors import Invalid
from chat_oss.pictures import PictureSettings, process
from PIL import Image, ImageSequence

from tests.chat_oss import pictures
from tests.chat_oss.pictures import SECRET, encoded, gradient, reopened

SETTINGS = PictureSettings()


def colour(image: Image.Image, x: int, y: int) -> str:
    red, _, blue = image.convert("RGB").getpixel((x, y))  # type: ignore[misc]
    return "red" if red > blue else "blue"


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (pictures.jpeg(), "image/jpeg"),
        (pictures.jpeg(progressive=True), "image/jpeg"),
        (pictures.png(), "image/png"),
        (pictures.png(mode="RGBA"), "image/png"),
        (pictures.webp(), "image/webp"),
        (pictures.webp(lossless=True), "image/webp"),
    ],
    ids=["jpeg", "progressive", "png", "png-alpha", "webp", "webp-lossless"],
)
def test_nothing_of_the_maker_survives_and_no_pixel_changes(data: bytes, type: str) -> None:
    assert SECRET in data
    done = process(data, type, SETTINGS)
    assert SECRET not in done.content
    assert b"Exif" not in done.content
    assert b"EXIF" not in done.content
    assert (done.width, done.height, done.animated) == (640, 480, False)
    assert not dict(reopened(done.content).getexif())
    before, after = reopened(data), reopened(done.content)
    assert after.format == before.format
    assert after.tobytes() == before.tobytes()
    for small in (done.small, *([done.large] if done.large else [])):
        assert SECRET not in small.data
        assert not dict(reopened(small.data).getexif())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_stored_upright(orientation: int) -> None:
    """Orientations of EXIF: the content shows what a viewer that obeys them would."""
    flat = pictures.gradient(600, 400)
    backwards = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that undoes each
    stored = flat if orientation == 1 else flat.transpose(Image.Transpose(backwards[orientation]))
    data = pictures.encoded(stored, "JPEG", exif=pictures.exif(orientation), quality=95)
    done = process(data, "image/jpeg", SETTINGS)
    assert (done.width, done.height) == (600, 400)
    for content in (done.content, done.small.data):
        image = reopened(content)
        assert image.width > image.height
        assert colour(image, 2, image.height // 2) == "red"
        assert colour(image, image.width - 3, image.height // 2) == "blue"
    assert SECRET not in done.content


def test_thumbnails_keep_the_proportions_in_two_sizes() -> None:
    done = process(pictures.jpeg(4000, 1000), "image/jpeg", SETTINGS)
    assert done.large is not None
    assert reopened(done.large.data).size == (1280, 320)
    assert reopened(done.small.data).size == (320, 80)
    assert done.large.type == done.small.type == "image/jpeg"


def test_a_small_picture_is_not_enlarged() -> None:
    done = process(pictures.png(100, 40), "image/png", SETTINGS)
    assert done.large is None
    assert reopened(done.small.data).size == (100, 40)


def test_transparency_stays_in_thumbnails() -> None:
    image = Image.new("RGBA", (2000, 2000), (0, 0, 0, 0))
    done = process(pictures.encoded(image, "PNG"), "image/png", SETTINGS)
    assert done.small.type == "image/webp"
    assert reopened(done.small.data).convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "YCbCr"])
def test_every_mode_gets_a_thumbnail(mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = pictures.encoded(Image.new(mode, (500, 300)), kind)
    done = process(data, f"image/{kind.lower()}", SETTINGS)
    assert reopened(done.small.data).size == (320, 192)


def test_a_phones_multi_picture_is_one_picture_turned_upright() -> None:
    data = pictures.multi_picture(640, 480)
    assert reopened(data).format == "MPO"
    picture = process(data, "image/jpeg", SETTINGS)
    assert (picture.width, picture.height, picture.animated) == (480, 640, False)
    shown = reopened(picture.content)
    assert (shown.format, shown.size, getattr(shown, "n_frames", 1)) == ("JPEG", (480, 640), 1)
    assert reopened(picture.small.data).size == (240, 320)
    upright = process(pictures.multi_picture(640, 480, orientation=1), "image/jpeg", SETTINGS)
    assert (upright.animated, reopened(upright.content).format) == (False, "JPEG")
    assert SECRET not in picture.content + upright.content


def test_sixteen_bits_of_grey_are_grey_in_thumbnails() -> None:
    image = Image.new("I;16", (64, 64), 32_768)
    picture = process(pictures.encoded(image, "PNG"), "image/png", SETTINGS)
    assert reopened(picture.content).mode == "I;16"
    grey = reopened(picture.small.data).convert("RGB").getpixel((32, 32))
    assert isinstance(grey, tuple)
    assert all(abs(value - 128) < 4 for value in grey), grey


def test_a_turned_palette_stays_transparent() -> None:
    image = Image.new("P", (64, 32), 1)
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 750)
    image.paste(0, (0, 0, 32, 32))  # the left half is of the colour that is no colour
    data = pictures.encoded(image, "PNG", transparency=0, exif=pictures.exif(6))
    picture = process(data, "image/png", SETTINGS)
    assert (picture.width, picture.height) == (32, 64)
    for shown in (reopened(picture.content).convert("RGBA"), reopened(picture.small.data)):
        top, bottom = shown.getpixel((16, 8)), shown.getpixel((16, 56))
        assert isinstance(top, tuple)
        assert isinstance(bottom, tuple)
        assert (top[3], bottom[3]) == (0, 255)


def test_an_animated_gif_stays_animated_frame_by_frame() -> None:
    data = pictures.gif(3)
    assert SECRET in data
    done = process(data, "image/gif", SETTINGS)
    assert done.animated
    assert SECRET not in done.content
    before = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(reopened(data))]
    after_image = reopened(done.content)
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(after_image)]
    after = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(after_image)]
    assert len(after) == 3
    assert after == before
    assert durations == [40, 80, 120]
    assert after_image.info["loop"] == 0


def test_animated_webp_stays_animated() -> None:
    frames = [pictures.gradient(64, 64), pictures.gradient(64, 64).rotate(90)]
    data = pictures.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], exif=pictures.exif())
    done = process(data, "image/webp", SETTINGS)
    assert done.animated
    assert getattr(reopened(done.content), "n_frames", 1) == 2
    assert SECRET not in done.content


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is huge."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(16_000, 16_000), (100_000, 10), (2_000_000_000, 2_000_000_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(Invalid) as caught:
        process(bomb(width, height), "image/png", SETTINGS)
    assert caught.value.field == "size" or width > 1_000_000


def test_limits_are_named() -> None:
    with pytest.raises(Invalid) as caught:
        process(pictures.jpeg(200, 100), "image/jpeg", PictureSettings(max_pixels=19_999))
    assert (caught.value.field, caught.value.limit) == ("size", 19_999)
    assert process(pictures.jpeg(200, 100), "image/jpeg", PictureSettings(max_pixels=20_000)).width == 200


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (b"", "image/png"),
        (b"GIF89a", "image/gif"),
        (pictures.png(), "image/jpeg"),
        (pictures.jpeg()[:2000], "image/jpeg"),
        (pictures.png()[:200], "image/png"),
        (pictures.webp()[:200], "image/webp"),
        (pictures.gif()[:60], "image/gif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png"),
    ],
)
def test_what_is_no_picture_of_that_type_is_invalid(data: bytes, type: str) -> None:
    with pytest.raises(Invalid) as caught:
        process(data, type, SETTINGS)
    assert caught.value.field == "file"


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow tells of the broken metadata
@pytest.mark.parametrize("type", ["image/jpeg", "image/png", "image/gif", "image/webp"])
def test_a_picture_with_flipped_bytes_is_taken_or_invalid_never_anything_else(type: str) -> None:
    whole = {
        "jpeg": pictures.jpeg(),
        "png": pictures.png(),
        "gif": pictures.gif(),
        "webp": pictures.webp(),
    }[type[6:]]
    taken = 0
    for at in range(0, min(len(whole), 900), 7):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        try:
            done = process(bytes(broken), type, SETTINGS)
        except Invalid:
            continue
        taken += 1
        reopened(done.small.data)
    assert taken < len(range(0, min(len(whole), 900), 7))


def test_a_jpeg_of_many_scans_is_refused_before_it_is_drawn() -> None:
    data = encoded(gradient(64, 64, "L"), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    scan = data[at : data.rindex(b"\xff\xd9")]
    assert process(data, "image/jpeg", PictureSettings()).width == 64
    with pytest.raises(Invalid, match="at most 200 scans"):
        process(data[:at] + scan * 300 + data[data.rindex(b"\xff\xd9") :], "image/jpeg", PictureSettings())


def test_fill_bytes_before_a_marker_are_skipped() -> None:
    data = encoded(gradient(10, 10), "JPEG")
    filled = data[:2] + b"\xff" * 5_000_000 + data[2:]
    assert len(process(filled, "image/jpeg", PictureSettings()).content) < 10_000


def test_broken_exif_is_no_fault_of_the_server() -> None:
    data = encoded(gradient(20, 10), "JPEG")
    tags = bytes.fromhex("4d4d002a00000008000201000002000000010000000101120003000000010006000000000000")
    segment = b"Exif\0\0" + tags
    bad = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    done = process(bad, "image/jpeg", PictureSettings())
    assert (done.width, done.height) == reopened(done.content).size == (10, 20)
    assert b"Exif" not in done.content


def test_transparent_webp_that_must_be_turned_may_have_half_the_pixels() -> None:
    settings = PictureSettings(max_pixels=20_000)

    def webp(mode: str, height: int, orientation: int = 6) -> bytes:
        image = Image.new(mode, (100, height), "#12345678" if mode == "RGBA" else "red")
        return encoded(image, "WEBP", exif=pictures.exif(orientation))

    for data in (webp("RGBA", 100), webp("RGB", 200)):
        assert process(data, "image/webp", settings).height == 100
    assert process(webp("RGBA", 200, orientation=1), "image/webp", settings).height == 200
    with pytest.raises(Invalid, match="has to be turned") as caught:
        process(webp("RGBA", 101), "image/webp", settings)
    assert (caught.value.field, caught.value.limit) == ("size", 10_000)


def test_what_follows_in_the_extensions_of_a_gif_goes() -> None:
    plain = pictures.gif()
    extra = bytes([len(SECRET)]) + SECRET
    loop, control = b"\x0bNETSCAPE2.0\x03\x01\x00\x00", b"\x21\xf9\x04"
    at = plain.index(control) + 7
    data = plain[:at] + extra + plain[at:]
    for instead in (loop + extra, loop[:12] + extra + loop[12:]):  # after the count, and before it
        found = process(data.replace(loop, instead), "image/gif", SETTINGS)
        assert SECRET not in found.content
        assert found.content == process(plain, "image/gif", SETTINGS).content
        assert loop in found.content
    other = process(plain.replace(loop, loop[:12] + extra), "image/gif", SETTINGS).content
    assert b"NETSCAPE" not in other
    assert SECRET not in other


def test_a_longer_adobe_segment_of_a_jpeg_is_cut() -> None:
    plain = encoded(gradient(20, 10, "CMYK"), "JPEG")
    segment = b"\xff\xee\x00\x0e"
    at = plain.index(segment)
    data = plain[: at + 2] + (14 + len(SECRET)).to_bytes(2, "big") + plain[at + 4 : at + 16] + SECRET + plain[at + 16 :]
    done = process(data, "image/jpeg", SETTINGS).content
    assert SECRET not in done
    assert done == process(plain, "image/jpeg", SETTINGS).content
    assert segment in done
    assert reopened(done).tobytes() == reopened(plain).tobytes()
