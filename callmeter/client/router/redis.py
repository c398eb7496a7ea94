"""What routers in several processes share, in Redis: usage, calls in flight and cooldowns by deployment.

A call asks Redis once or twice before it is sent, and never again: what follows (its usage, its end, a cooldown) goes
out from a thread. Calls in flight are leases that end by themselves if their process does. While Redis is away each
process goes by what it knows itself.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.effects import Consult, Flow
from callmeter.client.router.courier import Courier, Release, Rest
from callmeter.client.router.decide import Decision
from callmeter.client.router.line import Ticket
from callmeter.client.router.load import IDLE, Cooldown, Load
from callmeter.client.router.members import Member
from callmeter.client.router.place import Place
from callmeter.client.router.state import Decide, Lease, State, Want
from callmeter.clock import IdSource
from callmeter.transport.redis import Clients

log = logging.getLogger("callmeter")

ANSWER_S = 0.5
"""How long Redis may take to answer before it counts as away."""

AWAY_S = 5.0
"""How long an absent Redis is not asked."""

LEASE_S = 60
"""A call in flight is renewed well before this; one of a dead process is counted for no longer."""

LOOK = """
local time = redis.call('TIME')
local second, now_ms = tonumber(time[1]), time[1] * 1000 + math.floor(time[2] / 1000)
local minute, lease_ms, lease, most = 60, tonumber(ARGV[1]), ARGV[2], #KEYS / 3
local seen, taken = {}, 0
for i = 1, most do
  local usage, flight, rest = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local requests, tokens, oldest, gone = 0, 0, second, {}
  local counted = redis.call('HGETALL', usage)
  for j = 1, #counted, 2 do
    local at, amount = tonumber(string.sub(counted[j], 2)), tonumber(counted[j + 1])
    if at < second - minute then
      gone[#gone + 1] = counted[j]
    elseif string.sub(counted[j], 1, 1) == 'r' then
      requests, oldest = requests + amount, math.min(oldest, at)
    else
      tokens = tokens + amount
    end
  end
  if #gone > 0 then redis.call('HDEL', usage, unpack(gone)) end
  redis.call('ZREMRANGEBYSCORE', flight, '-inf', now_ms)
  local flying, rest_ms = redis.call('ZCARD', flight), math.max(0, redis.call('PTTL', rest))
  local free_ms = requests > 0 and (oldest + minute + 1) * 1000 - now_ms or 0
  local why = rest_ms > 0 and redis.call('GET', rest) or ''
  seen[i] = {flying, requests, tokens, rest_ms, why, free_ms}
  local rpm, tpm, parallel = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local needs = tonumber(ARGV[4 * i + 2])
  if lease ~= '' and taken == 0 and (rest_ms == 0 or ARGV[#ARGV] == 'alone')
    and (rpm < 0 or requests < rpm) and (tpm < 0 or tokens + needs <= tpm) and (parallel < 0 or flying < parallel)
  then
    taken = i
    redis.call('HINCRBY', usage, 'r' .. second, 1)
    redis.call('HINCRBY', usage, 't' .. second, needs)
    redis.call('EXPIRE', usage, 2 * minute)
    redis.call('ZADD', flight, now_ms + lease_ms, lease)
    redis.call('PEXPIRE', flight, lease_ms)
  end
end
return {taken, second, taken == 0 and seen or {}}
"""
"""Looks at deployments, the best first, and takes the first that has room if there is a lease to take it for.

Keys: usage by the second, calls in flight, cooldown; three a deployment. Arguments: the lease's milliseconds and id;
four a deployment, `rpm`, `tpm`, `parallel` (-1: no limit) and the tokens it needs there; last `alone`, for whom a
cooldown is no reason, or nothing. Tells of the deployments where none was taken. All in one step and by Redis's own
clock, so that no limit is exceeded by two processes that look at the same time.
"""


class Shared:
    """The counters of deployments in Redis, for the routers of all processes that share it."""

    def __init__(self, place: Place, state: State) -> None:
        self._clients = Clients(
            {"decode_responses": True, **place.where}, timeout_s=ANSWER_S, purpose="a router that shares its state"
        )
        self._client, self._errors = self._clients.blocking, self._clients.errors
        self._look = self._client.register_script(LOOK)
        self._state = state
        self._prefix = f"{{{place.namespace}:router}}:"
        self._away_until = 0.0
        self._away = False
        self._ids = IdSource()
        self._leases: dict[Lease, tuple[str, int, int]] = {}
        """The id in Redis, the second there and the tokens counted, of each call of this process that is in flight."""
        self._courier = Courier(self._client, self._prefix, LEASE_S, self._errors)

    # -- before a call is sent

    def claim(self, want: Want, decide: Decide, ticket: Ticket | None) -> Flow[tuple[Lease | None, Decision]]:
        """`State.claim` by what all processes know; by what this one knows while Redis is away."""
        if self._is_away():
            return self._state.claim(want, decide, ticket)
        seen: Mapping[str, Load] = {}
        if want.ranked_by_load:
            looked = yield self._consult(want.members, want)
            if looked is None:
                return self._state.claim(want, decide, ticket)
            seen = looked.loads
        decision = decide(self._known(want, seen))
        if not decision.ranked or self._state.held_back(want, ticket):
            return None, decision
        lease_id = self._ids()
        try:
            claimed = yield self._consult(decision.ranked, want, lease_id)
        except BaseException:
            # Nobody knows whether it was taken; if so, it is not for longer than this takes.
            for member in decision.ranked:
                self._courier.carry(Release(member.id, lease_id, 0, 0))
            raise
        if claimed is None:
            return self._state.claim(want, decide, ticket)
        if claimed.taken is None:
            return None, decide(self._known(want, {**seen, **claimed.loads}))
        lease = self._state.take(claimed.taken, want)
        self._leases[lease] = (lease_id, claimed.second, lease.tokens)
        self._courier.holds(claimed.taken.id, lease_id)
        return lease, decision

    def _known(self, want: Want, seen: Mapping[str, Load]) -> dict[str, Load]:
        """What is known here, with what all know in the place of what this process counted by itself."""
        own = self._state.loads(want.members, want.streamed)
        for member_id, theirs in seen.items():
            mine = own.get(member_id, IDLE)
            rests = theirs if theirs.cooldown_s >= mine.cooldown_s else mine
            own[member_id] = msgspec.structs.replace(
                theirs, latency_s=mine.latency_s, cooldown=rests.cooldown, cooldown_s=rests.cooldown_s
            )
        return own

    def _consult(self, members: Sequence[Member], want: Want, lease_id: str = "") -> Consult:
        keys = [f"{self._prefix}{kind}:{member.id}" for member in members for kind in ("usage", "flight", "rest")]
        limits = [limit for member in members for limit in _limits(member, want.tokens)]
        args = [LEASE_S * 1000, lease_id, *limits, "alone" if want.alone else ""]
        answer = partial(_read, members)
        return Consult(
            lambda: self._asked(lambda: self._look(keys=keys, args=args), answer),
            lambda: self._awaited(keys, args, answer),
        )

    def _asked(self, ask: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        try:
            answer = ask()
        except self._errors as error:
            self._gone(error)
            return None
        self._back()
        return read(answer)

    async def _awaited(self, keys: Sequence[str], args: Sequence[Any], read: Callable[[Any], Any]) -> Any:
        try:
            client = await self._clients.awaited()
            answer = await client.register_script(LOOK)(keys=keys, args=args)
        except self._errors as error:
            self._gone(error)
            return None
        self._back()
        return read(answer)

    # -- after it

    def give_back(self, lease: Lease, tokens: int | None) -> None:
        """The call is over, and used so many tokens. Never blocks."""
        held = self._leases.pop(lease, None)
        if held is not None:
            lease_id, second, counted = held
            more = 0 if tokens is None else tokens - counted
            urgent = lease.member.parallel is not None
            self._courier.carry(Release(lease.member.id, lease_id, second, more, urgent))

    def rest(self, member_id: str, cooldown: Cooldown, seconds: float) -> None:
        """Let a deployment cool down in all processes. Never blocks."""
        said = msgspec.json.encode([cooldown.error_class, cooldown.status, cooldown.message]).decode()
        self._courier.carry(Rest(member_id, int(seconds * 1000), said))

    def flush(self) -> None:
        """Forget all cooldowns and counts of the namespace, in Redis."""
        try:
            for key in self._client.scan_iter(match=f"{self._prefix}*"):
                self._client.delete(key)
        except self._errors as error:
            self._gone(error)

    def close(self) -> None:
        """Send what waits to be sent, and stop."""
        self._courier.close()

    # -- whether it is there

    def _is_away(self) -> bool:
        return self._away and monotonic() < self._away_until

    def _gone(self, error: BaseException) -> None:
        self._away_until = monotonic() + AWAY_S
        if not self._away:
            self._away = True
            log.warning("the router's Redis is away (%s); each process goes by what it knows until it is back", error)

    def _back(self) -> None:
        if self._away:
            self._away = False
            log.warning("the router's Redis is back")


class _Seen(Struct, frozen=True):
    """What Redis answered."""

    taken: Member | None
    second: int
    loads: Mapping[str, Load]


def _read(members: Sequence[Member], answer: Any) -> _Seen:
    taken, second, seen = answer
    return _Seen(
        members[taken - 1] if taken else None,
        second,
        {member.id: _load(*found) for member, found in zip(members, seen, strict=False)},
    )


def _load(flying: int, requests: int, tokens: int, rest_ms: int, why: str, free_ms: int) -> Load:
    cooldown = None
    if rest_ms > 0:
        try:
            error_class, status, message = msgspec.json.decode(why, type=tuple[str, int, str])
        except msgspec.DecodeError:
            error_class, status, message = "unknown", 0, ""
        cooldown = Cooldown(0, error_class, status, message)
    return Load(flying, requests, tokens, None, cooldown, rest_ms / 1000, free_ms / 1000)


def _limits(member: Member, tokens: int) -> tuple[int, int, int, int]:
    rpm, tpm, parallel = (-1 if limit is None else limit for limit in (member.rpm, member.tpm, member.parallel))
    return rpm, tpm, parallel, tokens if tpm < 0 else min(tokens, tpm)
