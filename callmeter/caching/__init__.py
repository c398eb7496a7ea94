"""The response cache: answers kept by what was asked, in this process, on disk or in Redis.

`callmeter.cache = callmeter.Cache()` switches it on. What one call does with it is in `client/remembering.py`.
"""

from callmeter.caching.caching import Cache, disable_cache, enable_cache, update_cache

__all__ = ["Cache", "disable_cache", "enable_cache", "update_cache"]
