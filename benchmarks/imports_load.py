"""The first call after an import: `imports_load.py CLIENT URL`. Prints its wall and CPU milliseconds."""

import json
import os
import sys
import time

name, url = sys.argv[1], sys.argv[2]
messages = [{"role": "user", "content": "hello"}]
library = __import__(name)
wall, cpu = time.perf_counter(), time.process_time()
if name == "openai":
    client = library.OpenAI(base_url=url + "/v1", api_key="sk-fake")
    client.chat.completions.create(model="gpt-4o-mini", messages=messages)
else:
    library.completion("openai/gpt-4o-mini", messages=messages, api_base=url + "/v1", api_key="sk-fake")
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3}), flush=True)
if name == "litellm":
    os._exit(0)
