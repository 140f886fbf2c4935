"""Make the demo model: `python -m tools.demo_model {corpus,train,evaluate,sample,golden}`."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "python" / "tritium" / "demo_model"


def _corpus(args: argparse.Namespace) -> None:
    from .forms import document

    for seed in range(args.first, args.first + args.documents):
        print(f"--- {seed}\n{document(seed)}\n")


def _train(args: argparse.Namespace) -> None:
    import torch

    from . import corpus, evaluate, export, train, train_tokenizer
    from .model import Shape

    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = Shape(num_hidden_layers=args.layers or Shape.num_hidden_layers)
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer.train_tokenizer(
        corpus.texts(corpus.train_seeds(min(args.documents, 30_000))), shape.vocab_size
    )
    stream = corpus.token_stream(tokenizer, corpus.train_seeds(args.documents), args.processes)
    print(f"{args.documents} documents, {len(stream)} tokens", flush=True)
    sampler = train.WindowSampler(
        stream, tokenizer.token_to_id(train_tokenizer.BEGIN), shape.max_position_embeddings, device
    )
    schedule = train.Schedule(steps=args.steps, windows=args.windows, peak_rate=args.rate)
    model, history = train.train(shape, schedule, sampler)
    export.export(model, tokenizer, args.folder)
    exported = export.load_exported(args.folder).to(device)
    torch.set_float32_matmul_precision("highest")
    held_out = evaluate.perplexity(exported, tokenizer, args.held_out)
    report = {
        "schedule": asdict(schedule),
        "documents": args.documents,
        "stream_tokens": len(stream),
        "history": history.as_dict(),
        "held_out": asdict(held_out),
    }
    args.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report["held_out"]))
    for prompt in evaluate.PROMPTS:
        print("---", evaluate.continue_text(exported, tokenizer, prompt), sep="\n", flush=True)


def _evaluate(args: argparse.Namespace) -> None:
    from tokenizers import Tokenizer

    from . import evaluate, export

    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    model = export.load_exported(args.folder)
    print(json.dumps(asdict(evaluate.perplexity(model, tokenizer, args.documents))))


def _sample(args: argparse.Namespace) -> None:
    from tokenizers import Tokenizer

    from . import evaluate, export

    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    model = export.load_exported(args.folder)
    for prompt in args.prompts or evaluate.PROMPTS:
        print("---", evaluate.continue_text(model, tokenizer, prompt), sep="\n", flush=True)


def _golden(args: argparse.Namespace) -> None:
    from . import golden

    golden.write_golden(args.folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(run=run)
        sub.add_argument("--folder", type=Path, default=FOLDER, help="exported model")
        return sub

    sub = command("corpus", _corpus, "print documents of the corpus")
    sub.add_argument("--first", type=int, default=0)
    sub.add_argument("--documents", type=int, default=3)
    sub = command("train", _train, "train, export and evaluate")
    sub.add_argument("--documents", type=int, default=1_100_000, help="training documents")
    sub.add_argument("--held-out", type=int, default=4000, help="held-out documents")
    sub.add_argument("--steps", type=int, default=10_000, help="training steps")
    sub.add_argument("--windows", type=int, default=128, help="sequences a step")
    sub.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    sub.add_argument("--layers", type=int, default=0, help="other depth (0: the shipped one)")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    sub.add_argument("--report", type=Path, default=Path("training_report.json"))
    sub = command("evaluate", _evaluate, "held-out perplexity of the exported model on the CPU")
    sub.add_argument("--documents", type=int, default=200)
    sub = command("sample", _sample, "greedy text of the exported model")
    sub.add_argument("prompts", nargs="*")
    command("golden", _golden, "reference tokens from transformers")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
