"""`transformers serve` with a model made on the spot, named `chat`. It says where it listens."""

import os
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|assistant|>"


def make() -> None:
    """A Llama of random weights, the same ones each time, whose tokens are bytes."""
    words = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    ).save_pretrained("chat")
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # Of random scores one is above zero, so that what is no printable letter is never written, nor an end.
        silent = [at for at, word in enumerate(words) if len(word) > 1 or not "!" <= word <= "~"]
        model.lm_head.weight[silent] = 0
    model.save_pretrained("chat")


if __name__ == "__main__":
    make()
    serve = os.path.join(os.path.dirname(sys.executable), "transformers")
    options = ["--host", "127.0.0.1", "--port", "0", "--device", "cpu", "--log-level", "info"]
    os.execv(serve, [serve, "serve", "chat", *options])
