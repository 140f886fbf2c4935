"""How are the weights learned?  AdamW, warm-up, linear decay, weight decay only at first."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from .model import DemoModel, Shape


@dataclass(frozen=True)
class Schedule:
    """Training length and step sizes."""

    steps: int = 10_000
    windows: int = 128  # per step
    peak_rate: float = 3e-3
    warm_up: float = 0.02  # share of the steps
    weight_decay: float = 0.1  # first half only (arXiv:2402.17764, training details)
    clip: float = 1.0
    report_every: int = 250  # steps


@dataclass
class History:
    """What training looked like."""

    device: str = ""
    tokens: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)  # (step, mean train loss)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class WindowSampler:
    """Windows of the flat token stream, each starting at a document's begin token."""

    def __init__(self, stream: np.ndarray, begin: int, length: int, device: str) -> None:
        self.stream = torch.from_numpy(stream.astype(np.int64)).to(device).int()
        starts = np.flatnonzero(stream == begin)
        self.starts = torch.from_numpy(starts[starts + length < len(stream)]).to(device)
        self.offsets = torch.arange(length + 1, device=device)
        self._order = torch.empty(0, dtype=torch.long, device=device)

    def next(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets, each (count, length); every document is used once per epoch."""
        while len(self._order) < count:
            shuffled = torch.randperm(len(self.starts), device=self.starts.device)
            self._order = torch.cat((self._order, shuffled))
        picked, self._order = self._order[:count], self._order[count:]
        ids = self.stream[self.starts[picked, None] + self.offsets].long()
        return ids[:, :-1], ids[:, 1:]


def rate_factor(progress: float, warm_up: float) -> float:
    """Linear warm-up to 1, then linear decay to 0."""
    if progress < warm_up:
        return progress / warm_up
    return max(0.0, (1 - progress) / (1 - warm_up))


def train(shape: Shape, schedule: Schedule, sampler: WindowSampler) -> tuple[DemoModel, History]:
    device = str(sampler.stream.device)
    on_gpu = device.startswith("cuda")
    torch.set_float32_matmul_precision("high")
    model = DemoModel(shape).to(device)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors}], lr=0.0, betas=(0.9, 0.95), fused=on_gpu
    )

    def loss_of(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=on_gpu):
            logits = model(ids)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    if on_gpu:
        loss_of = torch.compile(loss_of)
        loss_of(*sampler.next(schedule.windows)).backward()  # compile before the clock starts
    history = History(device=torch.cuda.get_device_name() if on_gpu else "CPU")
    start, running = time.perf_counter(), torch.zeros((), device=device)
    for step in (
        bar := tqdm(range(1, schedule.steps + 1), desc="train", unit="step", mininterval=5)
    ):
        progress = step / schedule.steps
        for group, decay in zip(optimizer.param_groups, (schedule.weight_decay, 0.0), strict=True):
            group["lr"] = schedule.peak_rate * rate_factor(progress, schedule.warm_up)
            group["weight_decay"] = decay if progress < 0.5 else 0.0
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*sampler.next(schedule.windows))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimizer.step()
        running += loss.detach()
        if step % schedule.report_every == 0:
            mean = running.item() / schedule.report_every
            if not math.isfinite(mean):
                raise FloatingPointError(f"[train] loss {mean} at step {step}")
            running.zero_()
            history.losses.append((step, round(mean, 4)))
            bar.set_postfix(loss=f"{mean:.4f}")
    history.tokens = schedule.steps * schedule.windows * shape.max_position_embeddings
    history.seconds = round(time.perf_counter() - start, 1)
    return model, history
