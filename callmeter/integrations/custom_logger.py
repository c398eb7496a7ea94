"""The base class of callback objects: override what you want to hear of and put an instance into `callbacks`."""

from typing import Any


class CustomLogger:
    """Hooks called on callmeter's callback thread, by keyword, once a call.

    A call ends in one success hook or one failure hook: the `async_` one for calls made with `acompletion`, the plain
    one for `completion`; where only the other is overridden, that one is called. `kwargs` is a fresh copy each time.
    """

    def __init__(self, message_logging: bool = True, turn_off_message_logging: bool = False, **_: Any) -> None:
        self.message_logging = message_logging
        self.turn_off_message_logging = turn_off_message_logging or not message_logging

    def log_pre_api_call(self, model: str, messages: Any, kwargs: dict[str, Any]) -> None:
        """A call begins."""

    def log_post_api_call(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call has ended, one way or the other; before its success or failure hook."""

    def log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call succeeded or its stream was completed; `response_obj` is the whole answer."""

    def log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call failed; `kwargs["exception"]` is what it raised."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """As `log_success_event`, for calls made with `acompletion`."""

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """As `log_failure_event`, for calls made with `acompletion`."""

    async def log_success_fallback_event(
        self, original_model_group: str, kwargs: dict[str, Any], original_exception: Exception
    ) -> None:
        """A call was answered by a fallback; `original_exception` is why the model that was asked for did not."""

    async def log_failure_fallback_event(
        self, original_model_group: str, kwargs: dict[str, Any], original_exception: Exception
    ) -> None:
        """A call failed, and so did its fallbacks."""
