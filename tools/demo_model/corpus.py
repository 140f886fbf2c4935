"""Which documents are trained on and held out, and how do they become token ids?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from .forms import document
from .train_tokenizer import END

HELD_OUT_START = 1_000_000_000
_SHARD = 4000


def train_seeds(count: int) -> range:
    """Seeds of the training documents."""
    if count > HELD_OUT_START:
        raise ValueError(f"[corpus] {count} training documents, at most {HELD_OUT_START}")
    return range(count)


def held_out_seeds(count: int) -> range:
    """Seeds of the held-out documents; never a training seed."""
    return range(HELD_OUT_START, HELD_OUT_START + count)


def texts(seeds: range) -> Iterator[str]:
    return map(document, seeds)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Begin token, text, end token."""
    return [*tokenizer.encode(text).ids, tokenizer.token_to_id(END)]


def _encode_shard(job: tuple[str, range]) -> np.ndarray:
    tokenizer = Tokenizer.from_str(job[0])
    return np.concatenate([np.array(encode(tokenizer, t), np.uint16) for t in texts(job[1])])


def token_stream(tokenizer: Tokenizer, seeds: range, processes: int) -> np.ndarray:
    """All documents of the seeds, one after another, as uint16 ids."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    text = tokenizer.to_str()
    jobs = [(text, seeds[i : i + _SHARD]) for i in range(0, len(seeds), _SHARD)]
    with ProcessPoolExecutor(processes) as pool:
        shards = tqdm(pool.map(_encode_shard, jobs), total=len(jobs), desc="corpus", unit="shard")
        return np.concatenate(list(shards))
