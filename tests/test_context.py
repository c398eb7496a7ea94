"""Labels that travel beside the caller's code."""

import asyncio
import threading

from callmeter.context import current_tags, tags


def test_labels_hold_within_the_block_only() -> None:
    with tags(project="search"):
        assert current_tags()["project"] == "search"
    assert current_tags() == {}


def test_inner_labels_win_and_lists_add_up() -> None:
    with tags("a", project="outer", user="u"), tags("b", project="inner"):
        assert current_tags() == {"tags": ("a", "b"), "project": "inner", "user": "u"}


def test_labels_go_into_tasks_and_not_into_other_threads() -> None:
    seen = []

    async def main() -> None:
        with tags(user="ada"):
            await asyncio.create_task(asyncio.to_thread(lambda: seen.append(dict(current_tags()))))

    with tags(user="nobody"):
        thread = threading.Thread(target=lambda: seen.append(dict(current_tags())))
        thread.start()
        thread.join()
    asyncio.run(main())
    assert seen == [{}, {"user": "ada", "tags": ()}]


def test_it_is_a_decorator_too() -> None:
    @tags(feature="summary")
    def work() -> object:
        return current_tags()["feature"]

    assert work() == "summary"
