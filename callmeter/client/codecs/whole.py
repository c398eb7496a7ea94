"""A whole answer handed out as a stream, for providers that do not stream: one chunk with everything, and its end."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from callmeter.client.codecs.base import Answer, Frame, Meter
from callmeter.client.codecs.unreadable import broken_off
from callmeter.shapes import Choice, Chunk, Completion, Delta, StreamChoice, ToolCall
from callmeter.types import Deployment


class WholeDecoder:
    """Folds the one frame that a body of JSON is."""

    def __init__(self, read: Callable[[bytes], Answer], deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._read = read
        self._deployment = deployment

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The answer's chunks. Raises what reading it raises."""
        if self.ended:
            return ()
        completion, self.meter = self._read(frame.data)
        self.ended = True
        return chunks_of(completion)

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Raises `APIConnectionError` where there was none."""
        if not self.ended:
            raise broken_off("before its answer", self._deployment)
        return ()


def chunks_of(completion: Completion) -> Sequence[Chunk]:
    """What was said, how it ended, and what it consumed, a chunk each."""

    def chunk(choices: list[StreamChoice]) -> Chunk:
        return Chunk(id=completion.id, created=completion.created, model=completion.model, choices=choices)

    said = chunk([_said(choice) for choice in completion.choices])
    over = chunk(
        [
            StreamChoice(
                index=choice.index,
                finish_reason=choice.finish_reason,
                provider_specific_fields=choice.provider_specific_fields,
            )
            for choice in completion.choices
        ]
    )
    if completion.usage is None:
        return (said, over)
    last = chunk([])
    last.usage = completion.usage
    return (said, over, last)


def _said(choice: Choice) -> StreamChoice:
    message = choice.message
    fields = {name: getattr(message, name) for name in message.__struct_fields__ if name in Delta.__struct_fields__}
    if message.tool_calls:
        fields["tool_calls"] = [_numbered(call, at) for at, call in enumerate(message.tool_calls)]
    return StreamChoice(index=choice.index, delta=Delta(**fields), logprobs=choice.logprobs)


def _numbered(call: ToolCall, index: int) -> ToolCall:
    return replace(call, index=index)
