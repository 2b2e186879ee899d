"""What is sent between slices, from text that the TPU compiler has written for two of them."""

import pytest

from rewardjax.aot import between_slices
from rewardjax.aot.between_slices import Transfer

SEND = (
    "(f32[512,8,128]{2,1,0:T(8,128)}, u32[], token[]) send(%part, %token), channel_id=2, "
    "is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="
    '"xla_megascale_runtime",_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type='
    '"ALL_REDUCE"}'
)
RECEIVE = SEND.replace(" send(%part, %token)", " recv(%token)")
TEXT = f"""
%condition (s: (s32[])) -> pred[] {{
  %c = s32[]{{:T(128)}} constant(5)
  ROOT %compare = pred[]{{:T(128)}} compare(%i, %c), direction=LT
}}

%body (s: (s32[])) -> (s32[]) {{
  %send.2 = {SEND}
  %recv.2 = {RECEIVE}
}}

ENTRY %main (a: f32[8]) -> f32[8] {{
  %w = (s32[]{{:T(128)}}) while(%t), condition=%condition, body=%body
  %send.1 = {SEND}
  %recv.1 = {RECEIVE}
  %done = token[] send-done(%send.1), channel_id=2, is_host_transfer=true
}}
"""


def test_an_array_counts_once_where_it_is_sent_and_once_a_turn_in_a_loop():
    size = 512 * 8 * 128 * 4
    assert between_slices.transfers(TEXT) == [
        Transfer("ALL_REDUCE", "f32", size, times=5, in_loop=True),
        Transfer("ALL_REDUCE", "f32", size, times=1, in_loop=False),
    ]


def test_a_sum_over_slices_sends_every_part_but_one_twice():
    one = Transfer("ALL_REDUCE", "f32", 100, times=3, in_loop=False)
    assert one.wire_bytes(2) == 3 * 100
    assert one.wire_bytes(4) == 3 * 150
    assert one._replace(kind="ALL_GATHER").wire_bytes(4) == 3 * 300


def test_a_loop_that_sends_and_does_not_say_how_often_is_refused():
    with pytest.raises(ValueError, match="how often it turns"):
        between_slices.transfers(TEXT.replace("constant(5)", "parameter(0)"))
