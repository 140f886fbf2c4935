"""How good is the exported model?  Perplexity on held-out documents and greedy text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from .corpus import encode, held_out_seeds, texts
from .model import DemoModel

PROMPTS = (
    "Once upon a time",
    "In a small village by the sea, there lived a clockmaker named",
    "Tell me a story about a fox named Bramble and a silver lantern.",
    "Mara was a brave girl who",
    "One morning, the little robin could not find her",
    '"What a strange map!" said Oskar.',
    "It was winter, and the old bear",
    "The Rabbit and the Golden Bell",
)


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood, end tokens counted, begin tokens not."""

    documents: int
    tokens: int
    bytes: int
    per_token: float
    per_byte: float


@torch.inference_mode()
def perplexity(
    model: DemoModel, tokenizer: Tokenizer, documents: int, batch: int = 32
) -> Perplexity:
    """Each held-out document alone, cut at the model's context length, in the model's dtype."""
    device = model.cos.device
    pieces = list(texts(held_out_seeds(documents)))
    rows = [encode(tokenizer, text)[: model.shape.max_position_embeddings + 1] for text in pieces]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    total = 0.0
    for first in range(0, len(order), batch):
        chunk = [torch.tensor(rows[i]) for i in order[first : first + batch]]
        ids = torch.nn.utils.rnn.pad_sequence(chunk, batch_first=True, padding_value=-100).to(
            device
        )
        logits = model(ids[:, :-1].clamp(min=0))
        total += F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()
    tokens = sum(len(r) - 1 for r in rows)
    size = sum(len(tokenizer.decode(r).encode()) for r in rows)
    return Perplexity(documents, tokens, size, math.exp(total / tokens), math.exp(total / size))


@torch.inference_mode()
def continue_text(model: DemoModel, tokenizer: Tokenizer, prompt: str, tokens: int = 240) -> str:
    """Prompt and greedy continuation up to the end token."""
    ids = tokenizer.encode(prompt).ids
    end = tokenizer.token_to_id("<|end_of_text|>")
    for _ in range(min(tokens, model.shape.max_position_embeddings - len(ids))):
        logits = model(torch.tensor([ids], device=model.cos.device))
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == end:
            break
    return tokenizer.decode(ids)
