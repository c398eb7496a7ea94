"""What a caller is told when no deployment can take the call. Pure."""

from collections.abc import Sequence

from callmeter import errors
from callmeter.client.router.decide import Need, Obstacle
from callmeter.errors import APIError

SHOWN = 10
"""Deployments that a message names at most."""


def unknown(name: str, groups: Sequence[str]) -> APIError:
    """Nobody answers to the name."""
    listed = ", ".join(map(repr, groups[:SHOWN])) + (", …" if len(groups) > SHOWN else "")
    return errors.BadRequestError(
        f"You passed in model={name!r}. There is no 'model_name' with this string in the router's model list; "
        f"it has {listed or 'no group at all'}",
        model=name,
        retryable=False,
    )


def refused(name: str, need: Need, obstacles: Sequence[Obstacle]) -> APIError:
    """All deployments of the group have something in their way.

    An error of the call's own kind where waiting would not help: its tags or region, the length of its prompt, keys
    that were refused. Else `RouterRateLimitError` with the time after which one may be free.
    """
    timely = [obstacle for obstacle in obstacles if obstacle.kind not in ("tags", "region", "window")]
    if not timely:
        return _unfit(name, need, obstacles)
    why = _listed(timely)
    rests = [obstacle.load.cooldown for obstacle in timely]
    if all(rest is not None and rest.refused for rest in rests):
        kind = errors.AuthenticationError if rests[0] and rests[0].status == 401 else errors.PermissionDeniedError
        said = "; ".join(dict.fromkeys(rest.message for rest in rests if rest and rest.message))
        return kind(
            f"every deployment of model group {name!r} had its credentials refused: {why}. They said: {said}",
            model=name,
            retryable=False,
        )
    waits = [obstacle.wait_s for obstacle in timely if obstacle.wait_s is not None]
    wait_s = min(waits, default=0.0)
    resting = [obstacle.member.id for obstacle in timely if obstacle.kind == "cooldown"]
    error = errors.RouterRateLimitError(
        f"No deployments available for selected model, Try again in {wait_s:.0f} seconds. Passed model={name}. "
        f"cooldown_list={resting}. {why}",
        model=name,
        retry_after_s=wait_s,
    )
    error.cooldown_time, error.cooldown_list = wait_s, resting
    return error


def _unfit(name: str, need: Need, obstacles: Sequence[Obstacle]) -> APIError:
    kinds = {obstacle.kind for obstacle in obstacles}
    why = _listed(obstacles)
    if "window" in kinds:
        return errors.ContextWindowExceededError(
            f"the prompt has about {need.prompt_tokens} tokens, too many for every deployment of model group "
            f"{name!r}: {why}",
            model=name,
        )
    if "region" in kinds:
        return errors.RejectedRequestError(
            f"no deployment of model group {name!r} is in region {need.region!r}: {why}", model=name
        )
    return errors.RejectedRequestError(
        f"Not allowed to access model due to tags configuration. Passed model={name} and "
        f"tags={sorted(need.tags or ())}: {why}",
        model=name,
    )


def _listed(obstacles: Sequence[Obstacle]) -> str:
    text = "; ".join(map(str, obstacles[:SHOWN]))
    return text + ("; …" if len(obstacles) > SHOWN else "")
