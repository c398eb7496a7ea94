"""Usages to draw for whatever is counted or paid."""

from typing import Any

from hypothesis import strategies as st

from callmeter.pricing import Usage

counts = st.one_of(st.integers(0, 500), st.integers(0, 2_000_000))


@st.composite
def usages(draw: Any) -> Usage:
    """Any usage whose parts fit their totals."""
    text, read, write, hour, audio, read_audio, image, video = (draw(counts) for _ in range(8))
    out, reasoning, audio_out, image_out = (draw(counts) for _ in range(4))
    units = draw(
        st.dictionaries(
            st.sampled_from(["search.web", "code_session", "audio_second", "character", "nonsense"]),
            st.one_of(st.integers(0, 1000), st.decimals("0", "1000", places=3)),
        )
    )
    return Usage(
        input_tokens=text + read + read_audio + write + hour + audio + image + video,
        output_tokens=out + reasoning + audio_out + image_out,
        cache_read_tokens=read + read_audio,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        reasoning_tokens=reasoning or draw(st.sampled_from([0, None])),
        input_audio_tokens=audio + read_audio,
        output_audio_tokens=audio_out,
        cache_read_audio_tokens=read_audio,
        input_image_tokens=image,
        output_image_tokens=image_out,
        input_video_tokens=video,
        units=units,
    )
