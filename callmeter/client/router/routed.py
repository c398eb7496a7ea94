"""One call's way through a router: which deployment next, until one answers or none is left.

It decides nothing by itself: deployments are ranked by `decide.py`, pauses and cooldowns follow from `policy.py` and
`plan.py`, fallbacks from `elsewhere.py`, what is known of deployments is the state's.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from callmeter import errors
from callmeter.client.effects import Consult, Flow
from callmeter.client.mock import Mock
from callmeter.client.plan import MAX_SERVER_DELAY_S, Target, Turn, cause, pause_s, retryable
from callmeter.client.router.appraisal import prompt_size
from callmeter.client.router.catalogue import Pool
from callmeter.client.router.custom import asking, chosen
from callmeter.client.router.decide import Decision, Need, decide
from callmeter.client.router.elsewhere import Elsewhere, Fallbacks, asked_for
from callmeter.client.router.load import Cooldown, Load
from callmeter.client.router.members import Member
from callmeter.client.router.policy import AT_ONCE, Record, blames, cooldown_s, fails_for, kind_of, retries_for
from callmeter.client.router.refusals import refused, unknown
from callmeter.client.router.state import Ended, Lease, Want
from callmeter.errors import APIError
from callmeter.events.model import Attempt
from callmeter.types import Call

if TYPE_CHECKING:
    from callmeter.client.making import Order
    from callmeter.client.router.router import Router

OF_THE_CALLER = frozenset({"api_base", "base_url", "api_key", "base_model", "model_info"})
"""Arguments for the model that the caller asked for, and for no fallback's."""

RECHECK_S = 1.0
"""A call in line looks at the deployments at least this often: limits by the minute pass without anybody's doing."""

SHARED_RECHECK_S = 0.1
"""The same where other processes may free one."""

OUTCOME_CHARS = 500
"""Of a message that tells why a group was left."""


class _Hop:
    """The group that a call is at, and how far it has come there."""

    def __init__(self, name: str, pool: Pool | None, changes: Mapping[str, Any], *, first: bool) -> None:
        self.name = name
        self.pool = pool
        self.changes = changes
        self.first = first
        self.tries = 0
        self.unfit: set[str] = set()
        """Deployments that this call cannot even be put to."""
        self.names = (name,) if pool is None or pool.group == name else (name, pool.group)
        """What fallbacks and policies may know the group by."""
        self.need: Need | None = None
        self.outcome = ""
        """Why it did not answer."""

    @property
    def members(self) -> tuple[Member, ...]:
        """The group's deployments that may still be asked."""
        members = self.pool.members if self.pool is not None else ()
        return tuple(member for member in members if member.id not in self.unfit) if self.unfit else members


class Routed:
    """A `Way` (see `client/plan.py`) along the deployments of a router."""

    def __init__(self, router: "Router", order: "Order", call: Call, ours: Mapping[str, Any]) -> None:
        self._router = router
        self._catalogue = router.catalogue
        self._options = options = router.options
        self._strategy = router.strategy
        self._state = router.state
        self._order = order
        self._call = call
        self._ours = ours
        self._mono_ns = router.mono_ns
        self._until_ns = None if call.total_timeout_s is None else self._mono_ns() + int(call.total_timeout_s * 1e9)
        self._asked_retries = ours.get("num_retries")
        self._priority = ours.get("priority")
        self._region = str(ours.get("allowed_model_region") or "")
        self._mocks = _mocks(ours)
        most = ours.get("max_fallbacks")
        self._most_hops = 0 if ours.get("disable_fallbacks") else options.max_fallbacks if most is None else int(most)
        self._fallbacks = _fallbacks(options.elsewhere, ours, call.model)
        self._hop = _Hop(call.model, self._catalogue.pool(call.model), {}, first=True)
        self._pending: list[Elsewhere] = []
        self._seen = {call.model, *self._hop.names}
        self._been = [self._hop]
        """The groups it came by, the present one last."""
        self._tried: set[str] = set()
        self._lease: Lease | None = None
        self._failure: APIError | None = None
        self._reason, self._because = "first", ""
        self._waited_s = 0.0

    # -- what the flow asks (see `Way`)

    def first(self) -> Sequence[Mapping[str, Any]]:
        """See `Way`."""
        return [
            {**self._router.defaults, **member.open_params, "model": member.model}
            for member in sorted(self._hop.members, key=lambda member: member.id)
        ]

    @property
    def retries(self) -> int:
        """See `Way`."""
        return max(0, self._hop.tries - 1)

    @property
    def max_retries(self) -> int:
        """See `Way`."""
        member = self._lease.member if self._lease is not None else None
        chosen = (self._asked_retries, member.retries if member is not None else None, self._options.num_retries)
        return next((int(retries) for retries in chosen if retries is not None), self._call.max_retries)

    def turn(self) -> Flow[Turn]:
        """See `Way`. Waits in line where all deployments that could take the call have as many as they may."""
        self._waited_s = 0.0
        while True:
            hop = self._hop
            found = yield from self._found(hop)
            answer = self._taken(hop, found) if isinstance(found, Lease) else found
            if isinstance(answer, Turn):
                return answer
            if answer is not found and hop.members:
                continue  # one that cannot be asked; the others may
            hop.outcome = answer.message[:OUTCOME_CHARS]
            if not self._goes_elsewhere(answer):
                raise self._failure or answer
            self._because = hop.outcome

    def after(self, error: APIError, jitter: float, left_s: float | None) -> float | None:
        """See `Way`."""
        lease = self._lease
        if lease is None:
            return None
        self._tried.add(lease.member.id)
        self._failure = error
        self._because = self._hop.outcome = f"{cause(error)} at {lease.member.id}"
        pause = self._pause(lease.member, error, jitter)
        if pause is not None and (left_s is None or pause < left_s):
            self._reason = "retry"
            return pause
        if (left_s is None or left_s > 0) and self._goes_elsewhere(error):
            return 0.0
        return None

    def last_words(self, error: APIError) -> None:
        """See `Way`: which group failed, and what was tried in its place."""
        first, *others = self._been
        words = f"model group {first.name!r} failed"
        if others:
            words += f" ({first.outcome}), and so did: " + "; ".join(f"{hop.name!r} ({hop.outcome})" for hop in others)
        else:
            words += ". No fallback was attempted" + ("" if self._most_hops else ": they are disabled")
        if words not in error.message:
            error.message = f"{error.message}\n\ncallmeter: {words}."

    # -- the next deployment

    def _found(self, hop: _Hop) -> Flow[Lease | APIError]:
        """A deployment of the group, or the error that says why there is none."""
        if hop.pool is None:
            return unknown(hop.name, self._catalogue.names())
        lease, decision = yield from self._claimed(hop)
        return refused(hop.name, self._need(hop), decision.obstacles) if lease is None else lease

    def _claimed(self, hop: _Hop) -> Flow[tuple[Lease | None, Decision]]:
        need = self._need(hop)
        members = self._members(hop)
        want = Want(
            group=hop.names[-1],
            members=members,
            tokens=need.tokens,
            streamed=self._call.stream,
            kind=(need.tags, need.region),
            priority=self._priority if self._priority is not None else self._options.default_priority or 0,
            ranked_by_load=self._strategy.by_load,
            alone=len(members) == 1 and not self._has_elsewhere(hop),
        )
        if self._router.custom_strategy is not None:
            return (yield from self._chosen(hop, want)), Decision()

        def rank(loads: Mapping[str, Load]) -> Decision:
            draw = self._router.draw
            return decide(want.members, need, loads, self._strategy, draw, tried=self._tried, alone=want.alone)

        shared = self._router.shared
        recheck_s = RECHECK_S if shared is None else SHARED_RECHECK_S
        ticket = None
        try:
            while True:
                if shared is None:
                    lease, decision = self._state.claim(want, rank, ticket)
                else:
                    lease, decision = yield from shared.claim(want, rank, ticket)
                if lease is not None or (patience_s := self._patience_s(decision, recheck_s)) <= 0:
                    return lease, decision
                if ticket is None:
                    ticket = self._state.join(want)
                    give_up_ns = self._mono_ns() + int(self._longest_s() * 1e9)
                left_s = (give_up_ns - self._mono_ns()) / 1e9
                if left_s <= 0:
                    return None, decision
                pause_s, began_ns = min(patience_s, left_s), self._mono_ns()
                yield Consult(partial(ticket.wait, pause_s), partial(ticket.await_turn, pause_s))
                self._waited_s += (self._mono_ns() - began_ns) / 1e9
        finally:
            if ticket is not None:
                self._state.leave(ticket)

    def _chosen(self, hop: _Hop, want: Want) -> Flow[Lease]:
        """The deployment that the caller's own strategy says."""
        strategy = self._router.custom_strategy
        answer = yield asking(strategy, hop.name, self._call, self._ours)
        return self._state.take(chosen(answer, hop.members, strategy), want)

    def _patience_s(self, decision: Decision, recheck_s: float) -> float:
        """Seconds until it is worth a second look; 0 where the call is not to wait for a deployment at all."""
        if decision.ranked or any(obstacle.kind == "parallel" for obstacle in decision.obstacles):
            return recheck_s
        if self._priority is None:
            return 0.0
        waits = [obstacle.wait_s for obstacle in decision.obstacles if obstacle.wait_s is not None]
        return min(recheck_s, max(0.01, min(waits))) if waits else 0.0

    def _longest_s(self) -> float:
        """How long the call waits in line at most."""
        if self._until_ns is not None:
            return (self._until_ns - self._mono_ns()) / 1e9
        times = self._call.timeouts
        return self._order.runtime.settings.timeout_s if times.total_s is None else times.total_s

    def _taken(self, hop: _Hop, lease: Lease) -> Turn | APIError:
        """The attempt at this deployment, or why the call cannot be put to it."""
        try:
            target = self._target(hop, lease.member)
        except BaseException as error:
            self._router.give_back(lease, NEUTRAL)
            if not isinstance(error, APIError):
                raise
            hop.unfit.add(lease.member.id)
            self._because = f"{cause(error)} at {lease.member.id}"
            return error
        if self._mocks and hop.first:
            mock = self._mocks.pop() if len(self._mocks) > 1 else self._mocks[0]
            target = msgspec.structs.replace(target, mock=mock) if mock is not None else target
        hop.tries += 1
        self._lease = lease
        return Turn(target, self._reason, self._because, hop.names[-1], self._waited_s, partial(self._ended, lease))

    def _target(self, hop: _Hop, member: Member) -> Target:
        """The call at this deployment: the caller's arguments over the deployment's over the router's."""
        call, ours = self._call, self._ours
        if not hop.first:
            ours = {name: value for name, value in ours.items() if name not in OF_THE_CALLER}
        changes = {
            name: value
            for name, value in (*self._router.defaults.items(), *member.params.items())
            if name not in ours and name not in call.params and name not in call.extra
        }
        changes |= hop.changes
        changes["model_info"] = member.info
        messages = changes.pop("messages", call.messages)
        return self._order.target(call, ours, member.model, messages, changes)

    def _members(self, hop: _Hop) -> tuple[Member, ...]:
        return self._router.windowed(hop.members) if self._options.enable_pre_call_checks else hop.members

    def _need(self, hop: _Hop) -> Need:
        if hop.need is None:
            options, call = self._options, self._call
            prompt = 0
            if options.enable_pre_call_checks or any(member.tpm is not None for member in hop.members):
                prompt = prompt_size(call, self._members(hop))
            most = call.params.get("max_completion_tokens") or call.params.get("max_tokens")
            hop.need = Need(
                tokens=prompt + most if isinstance(most, int) else prompt,
                prompt_tokens=prompt if options.enable_pre_call_checks else None,
                tags=frozenset(self._order.facts.tags) if options.enable_tag_filtering else None,
                all_tags=not options.tag_filtering_match_any,
                region=self._region,
            )
        return hop.need

    # -- after a failure

    def _pause(self, member: Member, error: APIError, jitter: float) -> float | None:
        """Seconds before the group is tried again; None where it is not to be."""
        hop, options = self._hop, self._options
        policy = next(
            (options.model_group_retry_policy[name] for name in hop.names if name in options.model_group_retry_policy),
            options.retry_policy,
        )
        granted = retries_for(policy, error)
        spent = hop.tries > (self.max_retries if granted is None else granted)
        loads = self._state.loads(hop.members, self._call.stream)
        others = [
            other
            for other in self._free(hop, loads)
            if other.id not in self._tried and (not spent or other.order > member.order)
        ]
        if others and (granted or self._may_do_better(error, member, others)):
            return options.retry_after
        if spent or not (granted or retryable(error)):
            return None
        rests = [loads[m.id].cooldown_s for m in hop.members if m.id in loads and loads[m.id].cooldown is not None]
        resting = len(rests) == len(hop.members) and not (len(rests) == 1 and not self._has_elsewhere(hop))
        if resting and self._has_elsewhere(hop):
            return None
        pause = max(pause_s(hop.tries, error, jitter), options.retry_after, min(rests) if resting else 0.0)
        return pause if pause <= MAX_SERVER_DELAY_S else None

    def _free(self, hop: _Hop, loads: Mapping[str, Load]) -> Sequence[Member]:
        return decide(self._members(hop), self._need(hop), loads, self._strategy, self._router.draw).ranked

    def _may_do_better(self, error: APIError, member: Member, others: Sequence[Member]) -> bool:
        """Whether another deployment may answer what this one did not."""
        if isinstance(error, errors.ContextWindowExceededError):
            return any(other.model != member.model for other in others)
        return retryable(error) or error.status_code in AT_ONCE

    def _has_elsewhere(self, hop: _Hop) -> bool:
        if len(self._been) > self._most_hops:
            return False
        return bool(self._pending) or self._fallbacks.any_for(hop.names)

    def _goes_elsewhere(self, error: APIError) -> bool:
        """Go on to the next group, if there is one that was not asked yet."""
        self._pending = [*self._fallbacks.after(error, self._hop.names), *self._pending]
        while self._pending and len(self._been) <= self._most_hops:
            elsewhere = self._pending.pop(0)
            pool = self._catalogue.pool(elsewhere.group)
            names = {elsewhere.group} if pool is None else {elsewhere.group, pool.group}
            if not elsewhere.changes and not self._seen.isdisjoint(names):
                continue
            self._seen |= names
            self._hop = _Hop(elsewhere.group, pool, elsewhere.changes, first=False)
            self._been.append(self._hop)
            self._reason = "fallback"
            return True
        return False

    # -- what the state learns of it

    def _ended(self, lease: Lease, attempt: Attempt, error: BaseException | None, first_chunk_s: float | None) -> None:
        rules = self._options.rules
        failed: bool | None = False
        latency_s = first_chunk_s if lease.streamed else attempt.latency_s
        if error is not None:
            counts = isinstance(error, APIError) and (blames(error) or fails_for(rules.policy, error) is not None)
            failed = True if counts else None
            latency_s = attempt.latency_s if isinstance(error, errors.Timeout) else None
        ended = Ended(
            failed,
            kind_of(error) if isinstance(error, APIError) else "",
            attempt.usage.total_tokens if attempt.usage is not None else 0,
            latency_s,
        )
        judge = partial(self._judged, lease.member, error) if failed and isinstance(error, APIError) else None
        self._router.give_back(lease, ended, judge)

    def _judged(self, member: Member, error: APIError, record: Record) -> Cooldown | None:
        """The cooldown that this failure brings upon the deployment, if any."""
        if error.status_code in (401, 403) and self._ours.get("api_key"):
            return None  # the caller's own key was refused, not the deployment's
        if error.status_code == 404 and "*" in member.group:
            return None  # one model of a pattern is not there
        rest_s = cooldown_s(error, record, self._options.rules, member.allowed_fails, member.cooldown_s)
        if rest_s <= 0:
            return None
        until_ns = self._mono_ns() + int(rest_s * 1e9)
        cooldown = Cooldown(until_ns, type(error).__name__, error.status_code, error.message[:OUTCOME_CHARS])
        if self._router.shared is not None:
            self._router.shared.rest(member.id, cooldown, rest_s)
        return cooldown


NEUTRAL = Ended(None, tokens=0)
"""Nothing was sent."""


def _fallbacks(table: Fallbacks, given: Mapping[str, Any], name: str) -> Fallbacks:
    """The router's fallbacks, with those that the call brings in their place."""
    for argument, field in (
        ("fallbacks", "general"),
        ("context_window_fallbacks", "context_window"),
        ("content_policy_fallbacks", "content_policy"),
    ):
        if given.get(argument) is not None:
            mine = {**getattr(table, field), **asked_for(given[argument], name, argument)}
            table = msgspec.structs.replace(table, **{field: mine})
    return table


def _mocks(given: Mapping[str, Any]) -> list[Mock | None]:
    """What answers in place of the first group's deployments, last first: switches for trying a configuration out."""
    if given.get("mock_testing_fallbacks"):
        return [Mock(response=errors.InternalServerError("mock_testing_fallbacks is set", retryable=False))]
    if given.get("mock_testing_context_window_fallbacks"):
        return [Mock(response=errors.ContextWindowExceededError("mock_testing_context_window_fallbacks is set"))]
    if given.get("mock_testing_content_policy_fallbacks"):
        return [Mock(response=errors.ContentPolicyViolationError("mock_testing_content_policy_fallbacks is set"))]
    if given.get("mock_testing_rate_limit_error"):
        return [None, Mock(response=errors.RateLimitError("mock_testing_rate_limit_error is set"))]
    return []
