"""Trainings with Hugging Face's Trainer that are killed; prints a line of JSON for each case, see torch_killed.py.

Usage: transformers_training.py FOLDER CASE...; the places are `end`, `evaluate` and `save`.
"""

from __future__ import annotations

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}

import hashlib
import json
import random
import shutil
import sys
import warnings

warnings.simplefilter("ignore")

import numpy as np
import torch
from torch_killed import Killed, main
from torch.utils import data
from transformers import (
    BertConfig,
    BertForMaskedLM,
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

import colabkit as ck
from colabkit.tracking import read_log

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "a", "mat", "hill", "and", "then", "slept"]
SMALL = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


class KilledAt(TrainerCallback):
    """Ends the process at a step."""

    stateless = True

    def __init__(self, where):
        self.killed = Killed(where)

    def on_step_end(self, args, state, control, **_):
        self.killed.at(state.global_step)

    def on_evaluate(self, args, state, control, **_):
        self.killed.at(state.global_step, "evaluate")

    def on_save(self, args, state, control, **_):
        self.killed.at(state.global_step, "save")


class Counts(TrainerCallback):
    """Keeps something, as callbacks of users do."""

    def __init__(self):
        self.steps, self.draws = 0, []

    def on_step_end(self, args, state, control, **_):
        self.steps += 1
        self.draws.append(random.random())


class Lines(data.Dataset):
    def __init__(self, count, *, noisy=False):
        ids = np.random.default_rng(0).integers(4, 32, (count, 8))
        self.rows = [{"input_ids": row.tolist(), "labels": row.tolist(), "attention_mask": [1] * 8} for row in ids]
        self.noisy = noisy

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        row = dict(self.rows[at])
        if self.noisy:
            row["input_ids"] = [*row["input_ids"][:-1], 4 + np.random.randint(20)]
        return row


class Stream(data.IterableDataset):
    def __iter__(self):
        yield from Lines(20).rows


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", *WORDS]
    made = Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]", eos_token="</s>"
    )


def masks(rows):
    """Mask tokens at random, as DataCollatorForLanguageModeling does."""
    batch = default_data_collator(rows)
    hidden = torch.rand(batch["input_ids"].shape) < 0.3
    batch["labels"] = torch.where(hidden, batch["input_ids"], -100)
    batch["input_ids"] = torch.where(hidden, 4, batch["input_ids"])
    return batch


def arguments(folder, **options):
    usual = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "report_to": "none", "use_cpu": True}
    usual |= {"logging_steps": 2, "save_strategy": "no", "learning_rate": 1e-2, "dataloader_pin_memory": False}
    return TrainingArguments(str(folder), **(usual | options))


def llama():
    torch.manual_seed(3)
    return LlamaForCausalLM(LlamaConfig(**SMALL, attention_dropout=0.2))


ONE = "one epoch"  # instead of two


EACH_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_strategy": "epoch"}
EACH_SECOND_STEP = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
OPTIONS = {
    "accumulation": {"gradient_accumulation_steps": 2, "lr_scheduler_type": "cosine", "warmup_steps": 2},
    "workers": {"dataloader_num_workers": 2},
    "best": {**EACH_SECOND_STEP, "load_best_model_at_end": True, "save_total_limit": 2},
    "elsewhere": {
        **EACH_SECOND_STEP,
        "load_best_model_at_end": True,
        "save_total_limit": 1,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": True,  # the first evaluation is the best one
    },
    "epochs": {**EACH_EPOCH, "num_train_epochs": 3, "eval_on_start": True},
    "max_steps": {"max_steps": 9},
    "stream": {"max_steps": 8},
    "plateau": {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps", "eval_steps": 2},
    "grouped": {
        "train_sampling_strategy": "group_by_length",
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
    },
}


def build(name, run, callbacks):
    """Build the Trainer of a case."""
    folder = run.dir / "hf"
    if name in ("sft", "lora", "packed"):
        return sft(name, folder, callbacks)
    given = {"model": llama(), "train_dataset": Lines(22, noisy=name in ("noisy", "workers")), "callbacks": callbacks}
    given["args"] = arguments(folder, **OPTIONS.get(name, {}))
    if name == "elsewhere":
        shutil.rmtree(folder, ignore_errors=True)  # another machine has none of the Trainer's own checkpoints
    if name in ("best", "elsewhere", "epochs", "plateau"):
        given["eval_dataset"] = Lines(6)
    if name == "best":
        given["callbacks"] = [EarlyStoppingCallback(3), *callbacks]
    elif name == "masked":
        torch.manual_seed(3)
        given["model"] = BertForMaskedLM(BertConfig(**SMALL, max_position_embeddings=16))
        given["data_collator"] = masks
    elif name == "stream":
        given["train_dataset"] = Stream()
    elif name == "grouped":
        for at, row in enumerate(given["train_dataset"].rows):
            row |= {key: values[: 3 + at % 5] for key, values in row.items()}
    return Trainer(**given)


def sft(name, folder, callbacks):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rng = random.Random(0)
    rows = [{"text": " ".join(rng.choices(WORDS, k=rng.randint(3, 9)))} for _ in range(22)]
    options = {}
    if name == "lora":
        from peft import LoraConfig

        options["peft_config"] = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], lora_dropout=0.1)
    usual = arguments(folder).to_dict()
    names = (
        "per_device_train_batch_size",
        "num_train_epochs",
        "report_to",
        "use_cpu",
        "logging_steps",
        "save_strategy",
        "packing",
        "max_length",
        "bf16",
    )
    usual |= {"packing": name == "packed", "max_length": 16, "bf16": False}
    config = SFTConfig(str(folder), **{key: usual[key] for key in names})
    made = {"processing_class": tokenizer(), "callbacks": callbacks, "train_dataset": Dataset.from_list(rows)}
    return SFTTrainer(llama(), args=config, **made, **options)


def train(folder, name, where):
    """Train to the end or to the kill."""
    with ck.open_run(folder, every="1 steps", time=0.001 if where == "time" else None) as run:
        counts, resume = Counts(), run.resume_transformers()
        trainer = build(name, run, [counts, resume, KilledAt(None if where in (ONE, "time") else where)])
        if where == ONE:
            trainer.args.num_train_epochs = 1
        loss = trainer.train().training_loss
        run.flush()
        travels = run.checkpoints()[0].size
    if where == ONE or resume.stopped:
        raise KeyboardInterrupt
    digest = hashlib.sha256()
    for key, value in trainer.model.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    for state in trainer.optimizer.state_dict()["state"].values():
        digest.update(b"".join(each.numpy().tobytes() for each in state.values()))
    clocks = ("runtime", "per_second")
    logs = [{k: v for k, v in one.items() if not any(c in k for c in clocks)} for one in trainer.state.log_history]
    return {
        "state": digest.hexdigest(),
        "logs": hashlib.sha256(json.dumps(logs, sort_keys=True).encode()).hexdigest()[:8] + f" {len(logs)}",
        "loss": loss,
        "step": [trainer.state.global_step, trainer.state.epoch, trainer.state.best_metric],
        "counts": [counts.steps, counts.draws[-1]],
        "then": [random.random(), float(np.random.rand()), float(torch.rand(()))],
        "rate": trainer.lr_scheduler.get_last_lr(),
        "tracked": [(record.step, record.epoch, record.values) for record in read_log(folder)],
        "resumed_from": resume.resumed_from,
        "size": travels if name == "lora" else 0,
        "base": sum(p.numel() * 4 for p in trainer.model.parameters() if not p.requires_grad),
        "adapter": sum(p.numel() * 4 for p in trainer.model.parameters() if p.requires_grad),
    }


if __name__ == "__main__":
    if any(case.startswith(("sft", "lora", "packed")) for case in sys.argv[2:]):
        from trl import SFTTrainer  # noqa: F401 - once, not in each fork
    main(train, twice=True)
