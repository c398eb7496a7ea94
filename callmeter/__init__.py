"""One `completion()` for every LLM, and an exact account of what each call cost.

Importing callmeter reads no file, opens no socket and starts no thread: each name below is loaded when first used.
The plain variables are the switches existing code sets on the module (`callmeter.success_callback = [...]`); they
apply to calls made after they are set.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from callmeter import errors as exceptions
    from callmeter import ledger
    from callmeter.caching import Cache, disable_cache, enable_cache, update_cache
    from callmeter.client import router
    from callmeter.client.api import acompletion, completion
    from callmeter.client.batch import batch_completion, batch_completion_models, batch_completion_models_all_responses
    from callmeter.client.endpoints.embedding import aembedding, embedding
    from callmeter.client.endpoints.image_generation import aimage_generation, image_generation
    from callmeter.client.endpoints.moderation import amoderation, moderation
    from callmeter.client.endpoints.rerank import arerank, rerank
    from callmeter.client.endpoints.responses import aresponses, responses
    from callmeter.client.endpoints.speech import aspeech, speech
    from callmeter.client.endpoints.text_completion import atext_completion, text_completion
    from callmeter.client.endpoints.transcription import atranscription, transcription
    from callmeter.client.environment import check_valid_key, get_valid_models, validate_environment
    from callmeter.client.fold import stream_chunk_builder
    from callmeter.client.model_info import (
        get_max_tokens,
        get_model_info,
        model_cost,
        supports_audio_input,
        supports_audio_output,
        supports_computer_use,
        supports_embedding_image_input,
        supports_function_calling,
        supports_native_streaming,
        supports_parallel_function_calling,
        supports_pdf_input,
        supports_prompt_caching,
        supports_reasoning,
        supports_response_schema,
        supports_system_messages,
        supports_tool_choice,
        supports_url_context,
        supports_video_input,
        supports_vision,
        supports_web_search,
    )
    from callmeter.client.resolve import get_llm_provider, get_supported_openai_params
    from callmeter.client.router.custom import CustomRoutingStrategyBase
    from callmeter.client.router.policy import AllowedFailsPolicy, RetryPolicy
    from callmeter.client.router.router import Router
    from callmeter.client.streaming import AsyncStream, Stream
    from callmeter.client.streaming import Stream as CustomStreamWrapper
    from callmeter.context import tags
    from callmeter.errors import (
        APIConnectionError,
        APIError,
        APIResponseValidationError,
        APIStatusError,
        AuthenticationError,
        BadGatewayError,
        BadRequestError,
        BudgetExceededError,
        CallmeterError,
        ConfigError,
        ConflictError,
        ContentPolicyViolationError,
        ContextWindowExceededError,
        ImageFetchError,
        InternalServerError,
        InvalidRequestError,
        JournalError,
        JSONSchemaValidationError,
        MissingExtraError,
        ModelNotMappedError,
        NotFoundError,
        OpenAIError,
        PermissionDeniedError,
        RateLimitError,
        RejectedRequestError,
        RouterRateLimitError,
        ServiceUnavailableError,
        Timeout,
        UnprocessableEntityError,
        UnsupportedParamsError,
    )
    from callmeter.pricing.compat import completion_cost, cost_per_token, register_model
    from callmeter.pricing.tokenizers import create_pretrained_tokenizer, create_tokenizer
    from callmeter.pricing.tokens import decode, encode, token_counter
    from callmeter.results import (
        Embedding,
        EmbeddingResponse,
        Image,
        ImageResponse,
        Moderation,
        ModerationResponse,
        RerankResponse,
        RerankResult,
        SpeechResponse,
        TranscriptionResponse,
    )
    from callmeter.runtime import Runtime, configure, flush, subscribe
    from callmeter.shapes import (
        Choice,
        Chunk,
        Completion,
        CompletionUsage,
        Delta,
        Message,
        StreamChoice,
        TextCompletion,
    )
    from callmeter.shapes import Choice as Choices
    from callmeter.shapes import Chunk as ModelResponseStream
    from callmeter.shapes import Completion as ModelResponse
    from callmeter.shapes import StreamChoice as StreamingChoices
    from callmeter.shapes import TextCompletion as TextCompletionResponse
    from callmeter.types import Cost, CostItem, Secret, Usage

_HOME = {
    "callmeter.caching": "Cache disable_cache enable_cache update_cache",
    "callmeter.client.api": "acompletion completion",
    "callmeter.client.batch": "batch_completion batch_completion_models batch_completion_models_all_responses",
    "callmeter.client.endpoints.embedding": "aembedding embedding",
    "callmeter.client.endpoints.image_generation": "aimage_generation image_generation",
    "callmeter.client.endpoints.moderation": "amoderation moderation",
    "callmeter.client.endpoints.rerank": "arerank rerank",
    "callmeter.client.endpoints.responses": "aresponses responses",
    "callmeter.client.endpoints.speech": "aspeech speech",
    "callmeter.client.endpoints.text_completion": "atext_completion text_completion",
    "callmeter.client.endpoints.transcription": "atranscription transcription",
    "callmeter.client.environment": "check_valid_key get_valid_models validate_environment",
    "callmeter.client.fold": "stream_chunk_builder",
    "callmeter.client.model_info": "get_max_tokens get_model_info model_cost supports_audio_input "
    "supports_audio_output supports_computer_use "
    "supports_embedding_image_input supports_function_calling supports_native_streaming "
    "supports_parallel_function_calling supports_pdf_input supports_prompt_caching supports_reasoning "
    "supports_response_schema supports_system_messages supports_tool_choice supports_url_context "
    "supports_video_input supports_vision supports_web_search",
    "callmeter.client.resolve": "get_llm_provider get_supported_openai_params",
    "callmeter.client.router.custom": "CustomRoutingStrategyBase",
    "callmeter.client.router.policy": "AllowedFailsPolicy RetryPolicy",
    "callmeter.client.router.router": "Router",
    "callmeter.client.streaming": "AsyncStream Stream",
    "callmeter.context": "tags",
    "callmeter.errors": "APIConnectionError APIError APIResponseValidationError APIStatusError AuthenticationError "
    "BadGatewayError BadRequestError BudgetExceededError CallmeterError ConfigError ConflictError "
    "ContentPolicyViolationError ContextWindowExceededError ImageFetchError InternalServerError InvalidRequestError "
    "JournalError JSONSchemaValidationError MissingExtraError ModelNotMappedError NotFoundError OpenAIError "
    "PermissionDeniedError RateLimitError RejectedRequestError RouterRateLimitError ServiceUnavailableError Timeout "
    "UnprocessableEntityError UnsupportedParamsError",
    "callmeter.pricing.compat": "completion_cost cost_per_token register_model",
    "callmeter.pricing.tokenizers": "create_pretrained_tokenizer create_tokenizer",
    "callmeter.pricing.tokens": "decode encode token_counter",
    "callmeter.results": "Embedding EmbeddingResponse Image ImageResponse Moderation "
    "ModerationResponse RerankResponse RerankResult SpeechResponse TranscriptionResponse",
    "callmeter.runtime": "Runtime configure flush subscribe",
    "callmeter.shapes": "Choice Chunk Completion CompletionUsage Delta Message StreamChoice TextCompletion",
    "callmeter.types": "Cost CostItem Secret Usage",
}
_WHERE = {name: module for module, names in _HOME.items() for name in names.split()}
_ALIASES = {
    "ModelResponse": "Completion",
    "ModelResponseStream": "Chunk",
    "CustomStreamWrapper": "Stream",
    "Choices": "Choice",
    "StreamingChoices": "StreamChoice",
    "TextCompletionResponse": "TextCompletion",
}
_MODULES = {"exceptions": "callmeter.errors", "ledger": "callmeter.ledger", "router": "callmeter.client.router"}

__version__ = "0.1.0"
__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "AllowedFailsPolicy",
    "AsyncStream",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BudgetExceededError",
    "Cache",
    "CallmeterError",
    "Choice",
    "Choices",
    "Chunk",
    "Completion",
    "CompletionUsage",
    "ConfigError",
    "ConflictError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "Cost",
    "CostItem",
    "CustomRoutingStrategyBase",
    "CustomStreamWrapper",
    "Delta",
    "Embedding",
    "EmbeddingResponse",
    "Image",
    "ImageFetchError",
    "ImageResponse",
    "InternalServerError",
    "InvalidRequestError",
    "JSONSchemaValidationError",
    "JournalError",
    "Message",
    "MissingExtraError",
    "ModelNotMappedError",
    "ModelResponse",
    "ModelResponseStream",
    "Moderation",
    "ModerationResponse",
    "NotFoundError",
    "OpenAIError",
    "PermissionDeniedError",
    "RateLimitError",
    "RejectedRequestError",
    "RerankResponse",
    "RerankResult",
    "RetryPolicy",
    "Router",
    "RouterRateLimitError",
    "Runtime",
    "Secret",
    "ServiceUnavailableError",
    "SpeechResponse",
    "Stream",
    "StreamChoice",
    "StreamingChoices",
    "TextCompletion",
    "TextCompletionResponse",
    "Timeout",
    "TranscriptionResponse",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
    "Usage",
    "acompletion",
    "aembedding",
    "aimage_generation",
    "amoderation",
    "arerank",
    "aresponses",
    "aspeech",
    "atext_completion",
    "atranscription",
    "batch_completion",
    "batch_completion_models",
    "batch_completion_models_all_responses",
    "check_valid_key",
    "completion",
    "completion_cost",
    "configure",
    "cost_per_token",
    "create_pretrained_tokenizer",
    "create_tokenizer",
    "decode",
    "disable_cache",
    "embedding",
    "enable_cache",
    "encode",
    "exceptions",
    "flush",
    "get_llm_provider",
    "get_max_tokens",
    "get_model_info",
    "get_supported_openai_params",
    "get_valid_models",
    "image_generation",
    "ledger",
    "model_cost",
    "moderation",
    "register_model",
    "rerank",
    "responses",
    "router",
    "speech",
    "stream_chunk_builder",
    "subscribe",
    "supports_audio_input",
    "supports_audio_output",
    "supports_computer_use",
    "supports_embedding_image_input",
    "supports_function_calling",
    "supports_native_streaming",
    "supports_parallel_function_calling",
    "supports_pdf_input",
    "supports_prompt_caching",
    "supports_reasoning",
    "supports_response_schema",
    "supports_system_messages",
    "supports_tool_choice",
    "supports_url_context",
    "supports_video_input",
    "supports_vision",
    "supports_web_search",
    "tags",
    "text_completion",
    "token_counter",
    "transcription",
    "update_cache",
    "validate_environment",
]

# What existing code sets on the module. Lists hold names, functions and objects with `log_success_event` and kin.
success_callback: list = []  # type: ignore[type-arg]
failure_callback: list = []  # type: ignore[type-arg]
input_callback: list = []  # type: ignore[type-arg]
service_callback: list = []  # type: ignore[type-arg]
callbacks: list = []  # type: ignore[type-arg]
cache: "Cache | None" = None
drop_params = False
enable_json_schema_validation = False
additional_drop_params: list = []  # type: ignore[type-arg]
turn_off_message_logging = False
standard_logging_payload_excluded_fields: list = []  # type: ignore[type-arg]
model_alias_map: dict = {}  # type: ignore[type-arg]
api_key = None
api_base = None
num_retries = None
request_timeout = None
set_verbose = False
suppress_debug_info = False
disable_stop_sequence_limit = False


def __getattr__(name: str) -> object:
    from importlib import import_module

    target = _ALIASES.get(name, name)
    if target in _WHERE:
        value = getattr(import_module(_WHERE[target]), target)
    elif name in _MODULES:
        value = import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'callmeter' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
