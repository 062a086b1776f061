"""How a client's bytes become frames, and what is refused with which words."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from attrs import define
from chat_common.codec.json import JsonCodec
from chat_common.errors import Invalid
from chat_common.protocol import frames
from chat_common.wire import Limits
from hypothesis import given
from hypothesis import strategies as st

codec = JsonCodec()


def read(data: bytes) -> frames.ClientFrame | frames.BadFrame:
    (frame,) = codec.client_frames(data)
    return frame


def nested(depth: int) -> bytes:
    """A call whose frame is ``depth`` deep."""
    return b'{"op":"call","ref":"r","command":"c","params":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_every_client_frame_is_read() -> None:
    assert read(b'{"op":"ack","received":3}') == frames.Ack(3)
    assert read(b' {"received":3,"later":[1],"op":"ack"}') == frames.Ack(3)
    assert read(b'{"op":"ping"}') == frames.Ping()
    device = frames.Device("d1", "test")
    assert read(b'{"op":"hello","device":{"id":"d1","platform":"test"}}') == frames.Hello(device)
    resumed = frames.Hello(device, "t", frames.Resume("s", 7))
    assert read(codec.encode(resumed)) == resumed
    call = read(b'{"op":"call","ref":"r","command":"c","params":{"a":1}}')
    assert isinstance(call, frames.Call)
    assert bytes(call.params) == b'{"a":1}'
    note = read(b'{"op":"note","event":"typing","data":{}}')
    assert isinstance(note, frames.ClientNote)
    assert bytes(note.data) == b"{}"


def test_null_is_as_absent() -> None:
    hello = read(b'{"op":"hello","token":null,"resume":null,"device":{"id":"d","platform":"p","name":null}}')
    assert hello == frames.Hello(frames.Device("d", "p"))
    call = read(b'{"op":"call","ref":"r","command":"c","params":null}')
    assert isinstance(call, frames.Call)
    assert bytes(call.params) == b""


@pytest.mark.parametrize(
    ("data", "ref", "field"),
    [
        (b"", None, None),
        (b"nonsense", None, None),
        (b"3", None, None),
        (b"null", None, None),
        (b'{"ref":"r"}', "r", "op"),
        (b'{"op":"fly","ref":"r"}', "r", "op"),
        (b'{"op":7,"ref":"r"}', "r", "op"),
        (b'{"op":"call","ref":"r"}', "r", "command"),
        (b'{"op":"call","ref":7,"command":"c"}', None, "ref"),
        (b'{"op":"call","ref":"","command":"c"}', None, "ref"),
        (b'{"op":"call","ref":"' + b"r" * 65 + b'","command":"c"}', None, "ref"),
        (b'{"op":"ack","received":1.0,"ref":"r"}', "r", "received"),
        (b'{"op":"ack","received":1e2,"ref":"r"}', "r", "received"),
        (b'{"op":"ack","received":-1}', None, "received"),
        (b'{"op":"ack","received":"1"}', None, "received"),
        (b'{"op":"ack","received":9007199254740992}', None, "received"),
        (b'{"op":"ack","received":' + b"9" * 5000 + b"}", None, "received"),
        (b'{"op":"hello","device":{"id":"a b","platform":"p"}}', None, "device.id"),
        (b'{"op":"hello","device":{"id":"a\\n","platform":"p"}}', None, "device.id"),
        (b'{"op":"hello","device":{"id":"a"}}', None, "device.platform"),
        (b'{"op":"call","ref":"r","command":"c","params":{"t":"\\u0000"}}', "r", None),
        (b'{"op":"call","ref":"r","command":"c","params":{"\\u0000":1}}', "r", None),
        (b'{"op":"call","ref":"r","command":"c","params":{"t":"\\ud800 and more text"}}', "r", None),
        (b'{"op":"call","ref":"r","command":"c","params":{"t":"\\uDE00"}}', "r", None),
        (b'{"op":"call","ref":"\\ud800","command":"c"}', None, None),
        (b'{"op":"call","ref":"r","command":"c"} trailing', None, None),
        (b'[[{"op":"ping","ref":"r"}]]', None, None),
        (b"[]", None, None),
        (b"[" + b",".join([b'{"op":"ping"}'] * 129) + b"]", None, None),
        (b"[1", None, None),
        (b"[" * 60_000, None, None),
        (b'{"op":"call","params":' + b"[" * 30_000 + b"]" * 30_000 + b',"ref":"r"}', "r", None),
        (b'{"op":"call","params":{"ref":"in"},"x":' + b"[" * 30_000 + b"]" * 30_000 + b',"ref":3}', None, None),
        (b'{"op":"call","x":"ref","params":' + b"[" * 30_000 + b"]" * 30_000 + b',"ref":"a\\"[b"}', 'a"[b', None),
        (nested(33), "r", None),
    ],
)
def test_what_is_no_frame_is_answered_with_its_ref_and_field(data: bytes, ref: str | None, field: str | None) -> None:
    bad = read(data)
    assert isinstance(bad, frames.BadFrame)
    assert (bad.error.code, bad.ref, bad.error.field) == ("invalid", ref, field)


def test_limits_are_named() -> None:
    bad = read(nested(33))
    assert isinstance(bad, frames.BadFrame)
    assert bad.error.limit == 32
    bad = read(b'{"op":"call","ref":"' + b"r" * 65 + b'","command":"c"}')
    assert isinstance(bad, frames.BadFrame)
    assert bad.error.limit == 64


def test_depth_is_counted_from_the_frame_and_outside_of_strings() -> None:
    assert isinstance(read(nested(32)), frames.Call)
    brackets = b"[" * 500
    assert isinstance(read(b'{"op":"call","ref":"r","command":"c","params":{"t":"' + brackets + b'"}}'), frames.Call)
    shallow = b"[" + b",".join([nested(32)] * 128) + b"]"
    assert all(isinstance(frame, frames.Call) for frame in codec.client_frames(shallow))


def test_escapes_that_only_look_bad_are_taken() -> None:
    for text in (rb"\\u0000", rb"\ud83d\ude00", rb"\\ud800", rb"\u4f60"):
        assert isinstance(read(b'{"op":"call","ref":"r","command":"c","params":{"t":"' + text + b'"}}'), frames.Call)


def test_each_frame_of_a_list_counts_by_itself() -> None:
    got = codec.client_frames(b'[{"op":"ping"},{"op":"fly","ref":"r"},[],{"op":"ack","received":1}]')
    assert [type(frame) for frame in got] == [frames.Ping, frames.BadFrame, frames.BadFrame, frames.Ack]
    assert len(codec.client_frames(b"[" + b",".join([b'{"op":"ping"}'] * 128) + b"]")) == 128


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["op", "ref", "received", "params", "x"]), inner)
        ),
    ).map(lambda value: msgspec.json.encode(value))
)
def test_no_bytes_whatever_raise(data: bytes) -> None:
    for frame in codec.client_frames(data):
        assert isinstance(frame, frames.BadFrame | frames.ClientFrame)


def test_absent_means_absent_on_the_way_out() -> None:
    assert codec.encode(frames.Beat(4, 9)) == b'{"op":"beat","version":4,"server_time":9}'
    assert codec.encode(frames.Beat(4, 9, True)) == b'{"op":"beat","version":4,"server_time":9,"behind":true}'
    assert codec.encode(frames.Lagged()) == b'{"op":"lagged"}'
    error = frames.Error.of(Invalid("name: too long", field="name", limit=64), "r")
    assert msgspec.json.decode(codec.encode(error)) == {
        "op": "error", "code": "invalid", "message": "name: too long", "ref": "r", "field": "name", "limit": 64,
    }  # fmt: skip
    assert b"ref" not in codec.encode(frames.Error.of(Invalid("no")))


def test_a_server_message_is_read_and_unknown_ops_are_passed_over() -> None:
    welcome = frames.Welcome(
        session="s", resumed=False, device="d", epoch="e", version=1, heartbeat=30, resume_for=120, window=256,
        limits=Limits(), server_time=5, node="n",
    )  # fmt: skip
    sent: list[Any] = [welcome, frames.Push("message", {"seq": 1}), frames.Lagged(), frames.Bye(4000, "bye", "resume")]
    message = codec.join([*map(codec.encode, sent), b'{"op":"sing"}'])
    assert codec.server_frames(message) == sent
    assert codec.server_frames(b'{"op":"sing"}') == []
    assert codec.server_frames(codec.join([codec.encode(sent[1])])) == (sent[1],)
    for broken in (b"{", b'{"op":"beat"}', b"\xff"):
        with pytest.raises(Invalid):
            codec.server_frames(broken)


@define(kw_only=True)
class Params:
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=3)]
    count: int | msgspec.UnsetType = msgspec.UNSET


def test_params_are_read_strictly() -> None:
    assert codec.decode(msgspec.Raw(b'{"name":"a","count":null,"new":1}'), Params) == Params(name="a")
    assert codec.decode({"name": "a", "count": None}, Params) == Params(name="a")
    for data, field, limit in (
        (b'{"name":"abcd"}', "name", 3),
        (b'{"name":"abcd","count":null}', "name", 3),
        (b'{"name":"a","count":1.0}', "count", None),
        (b'{"name":null}', "name", None),
        (b"", "name", None),
        (b"null", "name", None),
        (b'{"name":"\\u0000"}', None, None),
        (b"[]", None, None),
        (b"nullnull", None, None),
        (b'{"name":3,"x":null', None, None),
    ):
        with pytest.raises(Invalid) as caught:
            codec.decode(msgspec.Raw(data), Params)
        assert (caught.value.field, caught.value.limit) == (field, limit)
    with pytest.raises(Invalid):
        codec.decode({"name": "a", "count": 1.0}, Params)


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00 x", rb"\u0000"])
def test_a_bad_text_is_refused_alone_wherever_it_stands(text: bytes) -> None:
    bad = b'{"op":"call","ref":"r","command":"c","params":{"text":"' + text + b'"}}'
    first, refused, last = codec.client_frames(b'[{"op":"ping"},' + bad + b',{"op":"ping"}]')
    assert (first, last) == (frames.Ping(), frames.Ping())
    assert isinstance(refused, frames.BadFrame)
    assert (refused.ref, refused.error.code) == ("r", "invalid")
    long = read(bad.replace(b'"text"', b'"n":' + b"9" * 5_000 + b',"text"'))
    assert isinstance(long, frames.BadFrame)
    assert long.ref == "r"


def test_a_blank_name_of_a_device_is_refused() -> None:
    assert isinstance(read(b'{"op":"hello","device":{"id":"d1","platform":" "}}'), frames.BadFrame)


@pytest.mark.parametrize("data", [b"nullnull", b'"x"null,', b'{"op":3} null', b'[{"op":3} null]'])
def test_what_is_no_message_of_a_server_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        codec.server_frames(data)
