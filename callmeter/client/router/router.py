"""`Router`: one name for many deployments, with retries, fallbacks, cooldowns and limits."""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import callmeter as front_door
from callmeter.client.plan import Way
from callmeter.client.router import together
from callmeter.client.router.appraisal import Appraisal
from callmeter.client.router.catalogue import Catalogue, aliases_of
from callmeter.client.router.decide import Need, decide
from callmeter.client.router.listing import group_info
from callmeter.client.router.load import LATENCY_MEMORY_S
from callmeter.client.router.members import Member, member_of, members_of
from callmeter.client.router.options import Options, options_of
from callmeter.client.router.place import Place, place_of
from callmeter.client.router.refusals import refused, unknown
from callmeter.client.router.routed import Routed
from callmeter.client.router.state import Ended, Judge, Lease, State
from callmeter.client.router.strategies import (
    CostBased,
    LatencyBased,
    LeastBusy,
    SimpleShuffle,
    Strategy,
    UsageBased,
)
from callmeter.clock import Clock, SystemClock
from callmeter.errors import as_openai
from callmeter.pricing import default_book
from callmeter.records import Record
from callmeter.runtime import default_runtime
from callmeter.types import Call

if TYPE_CHECKING:
    from callmeter.client.making import Order
    from callmeter.client.router.redis import Shared

log = logging.getLogger("callmeter")


class _Through:
    """One of the public functions, its calls going through the router that it is asked of."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, router: "Router", owner: type) -> Callable[..., Any]:
        function = getattr(front_door, self._name)

        def call(*args: Any, **params: Any) -> Any:
            return function(*args, **params, _router=router)

        return call


class Router:
    """Many deployments under one name each: a call goes to one that is free, and to another if that one fails.

    `model_list` has entries `{"model_name": …, "litellm_params": {"model": …, …}, "model_info": {…}}`; entries with the
    same name are a group. `docs/router.md` tells what else there is to set; every name is that of existing code.

    Calls are those of the module (`completion`, `acompletion`, `embedding`, …) with a group's name for the model. Each
    raises what it raises there, and `RouterRateLimitError` where no deployment of the group is to be had.

    Raises `ConfigError` for a setting or an entry that cannot be, and `TypeError` for one that nobody knows.
    """

    def __init__(
        self,
        model_list: Sequence[Any] | None = None,
        *,
        draw: Callable[[], float] = random.random,
        clock: Clock | None = None,
        set_verbose: bool = False,
        debug_level: str = "INFO",
        **settings: Any,
    ) -> None:
        if set_verbose:
            log.setLevel(debug_level)
        self.draw = draw
        self.mono_ns = (clock or SystemClock()).mono_ns
        self._skip_invalid = bool(settings.get("ignore_invalid_deployments"))
        self._editing = threading.Lock()
        self._appraisal = Appraisal(default_book())
        self.custom_strategy: Any = None
        self.options = Options()
        self.catalogue = Catalogue()
        place = place_of(settings)
        self._apply(options_of(settings))
        args = self.options.routing_strategy_args
        self.state = State(self.mono_ns, float(args.get("ttl") or LATENCY_MEMORY_S))
        self.shared = _shared(place, self.state) if place is not None else None
        self.set_model_list(model_list or ())

    def _apply(self, options: Options) -> None:
        self.strategy = self._strategy_of(options)
        self.catalogue = Catalogue(self.catalogue.members, aliases_of(options.model_group_alias))
        self.defaults = {
            name: value
            for name, value in (("timeout", options.timeout), ("stream_timeout", options.stream_timeout))
            if value is not None
        }
        self.options = options

    def _strategy_of(self, options: Options) -> Strategy:
        name = options.routing_strategy
        if name == "latency-based-routing":
            return LatencyBased(float(options.routing_strategy_args.get("lowest_latency_buffer") or 0))
        if name == "cost-based-routing":
            return CostBased(self._appraisal.price)
        if name == "least-busy":
            return LeastBusy()
        return SimpleShuffle() if name == "simple-shuffle" else UsageBased()

    # -- calls

    completion = _Through()
    acompletion = _Through()
    embedding = _Through()
    aembedding = _Through()
    text_completion = _Through()
    atext_completion = _Through()
    image_generation = _Through()
    aimage_generation = _Through()
    transcription = _Through()
    atranscription = _Through()
    speech = _Through()
    aspeech = _Through()
    moderation = _Through()
    amoderation = _Through()
    rerank = _Through()
    arerank = _Through()
    responses = _Through()
    aresponses = _Through()

    abatch_completion = together.abatch_completion
    abatch_completion_one_model_multiple_requests = together.abatch_completion_one_model_multiple_requests
    abatch_completion_fastest_response = together.abatch_completion_fastest_response

    async def schedule_acompletion(self, model: str, messages: Sequence[Any], priority: int = 0, **params: Any) -> Any:
        """`acompletion` that waits for a deployment in place of being refused, the lowest `priority` first.

        It waits as long as its `timeout`, or `total_timeout` where there is one.
        """
        return await self.acompletion(model, messages, priority=priority, **params)

    # -- what is offered

    @property
    def model_list(self) -> list[dict[str, Any]]:
        """Every deployment as it is listed, credentials as `Secret`s."""
        return [member.shown() for member in self.catalogue.members]

    @property
    def model_names(self) -> set[str]:
        """Names of the groups."""
        return set(self.catalogue.groups)

    def get_model_list(self, model_name: str | None = None) -> list[dict[str, Any]]:
        """The deployments of all groups and open aliases, or those that one name means."""
        return [member.shown(name) for name, member in self.catalogue.named(model_name)]

    def get_model_names(self) -> list[str]:
        """Names that calls can ask for; hidden aliases are left out."""
        return self.catalogue.names()

    def get_model_ids(self, model_name: str | None = None) -> list[str]:
        """Ids of the deployments of all groups, or of those that one name means."""
        if model_name is None:
            return list(self.catalogue.by_id)
        return [member.id for _, member in self.catalogue.named(model_name)]

    def has_model_id(self, candidate_id: str) -> bool:
        """Whether there is a deployment with this id."""
        return candidate_id in self.catalogue.by_id

    def get_deployment(self, model_id: str) -> Record | None:
        """The deployment with this id, its members also as attributes; None where there is none."""
        member = self.catalogue.by_id.get(model_id)
        return None if member is None else Record(member.shown())

    def get_model_info(self, id: str) -> dict[str, Any] | None:
        """The entry of the deployment with this id; None where there is none."""
        member = self.catalogue.by_id.get(id)
        return None if member is None else member.shown()

    def get_model_group_info(self, model_group: str) -> Record | None:
        """What the group's models can do and cost, the largest limits and dearest prices; None for an unknown group."""
        pool = self.catalogue.pool(model_group)
        return None if pool is None else group_info(model_group, pool.members)

    def get_model_group_usage(self, model_group: str) -> tuple[int, int]:
        """Tokens and requests of the group's deployments in the last minute, as this process knows."""
        pool = self.catalogue.pool(model_group)
        loads = self.state.loads(pool.members).values() if pool is not None else ()
        return sum(load.tokens for load in loads), sum(load.requests for load in loads)

    def get_available_deployment(
        self,
        model: str,
        messages: Sequence[Any] | None = None,
        input: Any = None,
        specific_deployment: bool = False,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The deployment that a call would go to now. Nothing is counted for it.

        Raises `RouterRateLimitError` where none is to be had, and `BadRequestError` for a name nobody knows.
        """
        pool = self.catalogue.pool(model)
        if pool is None:
            raise as_openai(unknown(model, self.catalogue.names()))
        options = self.options
        metadata = (request_kwargs or {}).get("metadata") or {}
        need = Need(
            tags=frozenset(metadata.get("tags") or ()) if options.enable_tag_filtering else None,
            all_tags=not options.tag_filtering_match_any,
        )
        alone = len(pool.members) == 1
        decision = decide(pool.members, need, self.state.loads(pool.members), self.strategy, self.draw, alone=alone)
        if not decision.ranked:
            raise as_openai(refused(model, need, decision.obstacles))
        return decision.ranked[0].shown(model)

    async def async_get_available_deployment(self, model: str, *args: Any, **params: Any) -> dict[str, Any]:
        """`get_available_deployment`, for event loops."""
        return self.get_available_deployment(model, *args, **params)

    # -- changing it

    def set_model_list(self, model_list: Sequence[Any]) -> None:
        """Offer these deployments and no others. Calls under way end where they are.

        Raises `ConfigError` naming the entry that is wrong; nothing is changed then.
        """
        with self._editing:
            self._replace(members_of(model_list, self._entry_defaults(), skip_invalid=self._skip_invalid))

    def add_deployment(self, deployment: Any) -> Record | None:
        """Offer one more; None where one with its id is there already."""
        with self._editing:
            member = self._member(deployment)
            if member.id in self.catalogue.by_id:
                return None
            self._replace((*self.catalogue.members, member))
        return Record(member.shown())

    def upsert_deployment(self, deployment: Any) -> Record:
        """Offer this one, in place of the one with its id if there is one; what is known of that one's load stays."""
        with self._editing:
            member = self._member(deployment)
            if member.id in self.catalogue.by_id:
                self._replace(tuple(member if m.id == member.id else m for m in self.catalogue.members))
            else:
                self._replace((*self.catalogue.members, member))
        return Record(member.shown())

    def delete_deployment(self, id: str) -> Record | None:
        """Offer the one with this id no more; None where there is none."""
        with self._editing:
            member = self.catalogue.by_id.get(id)
            if member is None:
                return None
            self._replace(tuple(m for m in self.catalogue.members if m.id != id))
        return Record(member.shown())

    def _member(self, entry: Any) -> Member:
        return member_of(entry, "the deployment", self._entry_defaults())

    def _entry_defaults(self) -> dict[str, Any]:
        most = self.options.default_max_parallel_requests
        parallel = {} if most is None else {"max_parallel_requests": most}
        return {**parallel, **self.options.default_litellm_params}

    def _replace(self, members: Sequence[Member]) -> None:
        gone = set(self.catalogue.by_id)
        self.catalogue = self.catalogue.with_members(members)
        if gone := gone.difference(self.catalogue.by_id):
            self.state.forget(list(gone))

    def get_settings(self) -> dict[str, Any]:
        """The settings in force."""
        shown = self.options.shown()
        if shown["num_retries"] is None:
            shown["num_retries"] = default_runtime().settings.max_retries
        return shown

    def update_settings(self, **settings: Any) -> None:
        """Change settings for calls from now on. Raises as the constructor; nothing is changed then."""
        with self._editing:
            self._apply(options_of(settings, self.options))

    def set_custom_routing_strategy(self, strategy: Any) -> None:
        """Let the caller's own object choose: `get_available_deployment` of it, or `async_get_available_deployment`.

        Each is given `model`, `messages`, `input`, `specific_deployment` and `request_kwargs`, and returns an entry of
        `model_list`.
        """
        self.custom_strategy = strategy

    def flush_cache(self) -> None:
        """Forget all loads, latencies and cooldowns, in Redis too; here calls in flight stay counted."""
        self.state.forget()
        if self.shared is not None:
            self.shared.flush()

    reset = flush_cache

    def close(self) -> None:
        """Tell Redis what it has yet to know, and end the thread that does. Without Redis there is nothing to do."""
        if self.shared is not None:
            self.shared.close()

    discard = close

    def __getattr__(self, name: str) -> Any:
        # Settings read like attributes, as existing code does: `router.num_retries`.
        if name in Options.__struct_fields__ and "options" in vars(self):
            return self.get_settings().get(name)
        raise AttributeError(f"'Router' object has no attribute {name!r}")

    # -- what calls ask (see `routed.py`)

    def way(self, order: "Order", call: Call, given: Mapping[str, Any]) -> Way:
        """The way of one call."""
        return Routed(self, order, call, given)

    def give_back(self, lease: Lease, ended: Ended, judge: Judge | None = None) -> None:
        """A call has ended. Never blocks."""
        self.state.give_back(lease, ended, judge)
        if self.shared is not None:
            self.shared.give_back(lease, ended.tokens)

    def windowed(self, members: tuple[Member, ...]) -> tuple[Member, ...]:
        """The members with the tokens that their prompts may have."""
        return tuple(map(self._appraisal.windowed, members))


def _shared(place: Place, state: State) -> "Shared":
    from callmeter.client.router.redis import Shared

    return Shared(place, state)
