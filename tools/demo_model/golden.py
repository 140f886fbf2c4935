"""What does transformers generate from the exported folder?  The reference for every engine test.

Greedy decoding in float32 on the CPU, the whole sequence recomputed at every step (no KV cache).
transformers casts only the packed projections when asked for float32, so the other parameters and
buffers are cast in place after loading.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tqdm import tqdm

TOKENS = 64
PROMPTS = (
    "Once upon a time",
    "In a small village by the sea, there lived a clockmaker named",
    "Tell me a story about a fox named Bramble and a silver lantern.",
    "Mara was a brave girl who",
    "One morning, the little robin could not find her",
    '"What a strange map!" said Oskar.',
    "Zoë built a café in 東京 🙂",
    "The",
)


def load_reference(folder: Path):
    """transformers' BitNetForCausalLM of the folder in float32."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    import torch
    from transformers import BitNetForCausalLM

    model = BitNetForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.float()
    return model.eval()


def write_golden(folder: Path) -> None:
    """Write golden.json next to the model."""
    model = load_reference(folder)
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cases = []
    for prompt in tqdm(PROMPTS, desc="golden"):
        prompt_ids = tokenizer(prompt)["input_ids"]
        ids, margins, deviations, first = list(prompt_ids), [], [], None
        for _ in range(TOKENS):
            with torch.inference_mode():
                logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            top = logits.topk(8)
            if first is None:
                first = {
                    "first": [[i, round(v, 5)] for i, v in enumerate(logits[:8].tolist())],
                    "top": [
                        [i, round(v, 5)]
                        for i, v in zip(top.indices.tolist(), top.values.tolist(), strict=True)
                    ],
                }
            margins.append(round((top.values[0] - top.values[1]).item(), 4))
            deviations.append(round(logits.std().item(), 4))
            ids.append(int(top.indices[0]))
            if ids[-1] == model.config.eos_token_id:
                break
        cases.append(
            {
                "prompt": prompt,
                "prompt_ids": prompt_ids,
                "tokens": ids[len(prompt_ids) :],
                "margins": margins,
                "logit_std": deviations,
                "prompt_logits": first,
            }
        )
    reference = {
        "library": "transformers",
        "version": transformers.__version__,
        "torch": torch.__version__,
        "dtype": "float32",
    }
    text = json.dumps({"reference": reference, "cases": cases}, separators=(",", ":"))
    (folder / "golden.json").write_text(text + "\n", encoding="utf-8")
    for case in cases:
        print(f"{min(case['margins']):8.4f}  {case['prompt']!r}")
