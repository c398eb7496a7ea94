"""llama.cpp's own server with a model made on the spot: `llama_cpp.py chat|embedding`. It says where it listens."""

import signal
import sys
from pathlib import Path

import xllamacpp
from gguf_models import CONTEXT, write_chat_model, write_embedder


def main(kind: str) -> None:
    """Make the model here, and serve it until told to end."""
    ending = {signal.SIGTERM}
    # Blocked before the server starts its threads, so that they inherit the mask and sigwait gets it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    model = Path(f"{kind}.gguf")
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(model), {kind}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cpuparams.n_threads = 1
    params.warmup = False
    if kind == "chat":
        write_chat_model(model)
        params.n_ctx = CONTEXT
    else:
        write_embedder(model)
        params.embedding = True
        params.n_ctx = params.n_batch = params.n_ubatch = 512
    server = xllamacpp.Server(params)
    print(f"running on {server.listening_address}", flush=True)
    signal.sigwait(ending)


if __name__ == "__main__":
    main(sys.argv[1])
