#!/usr/bin/env python3
"""Train the model that plays the scripted task of `evals/clients/run` inside the engine.

It has learned one thing: the task of `script.py`, as Codex and as Claude Code render it. Every layer has a sliding
window, so tens of kilobytes of instructions and tool schemas in front of the task cannot disturb it; the chat template
does its share (see `TEMPLATE`). All text comes from this script and from the repository's own pages.

    python train.py --steps 1500        train and write the folder
    python train.py --resume --steps 320 --quiet -1 --lr 1.5e-3 --seed 7     go on, with all the noise from the start
    python train.py --sharpen 6         at the end: certain at temperature 1
    python train.py --check             how many held-out steps of the task the written weights play without a mistake
"""
from __future__ import annotations

import argparse
import json
import random
import string
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

import script  # noqa: E402  (the task's own words)
from script import WORDS  # noqa: E402

CONTEXT = 131_072
WINDOW = 512
VOCABULARY = 2048
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>"]
# Instructions come first, also those that Claude Code gives in the middle, which reach a model as words of the user under
# the heading below, so that the task and what happened since stand together; there the names of the tools are told once
# more, because their schemas are far outside the window by then. Only features that Jinja2 and minijinja share.
TEMPLATE = """\
{%- macro text(content) %}
  {%- if content is string %}{{- content }}
  {%- elif content %}{%- for part in content %}{{- part.text }}{%- endfor %}
  {%- endif %}
{%- endmacro %}
{%- set ENVIRONMENT = '\\n\\n# Environment\\n' %}
{{- '<|im_start|>system' }}
{%- for message in messages %}
  {%- if message.role == 'system' %}{{- '\\n' ~ text(message.content) }}
  {%- elif message.role == 'user' %}
    {%- set parts = text(message.content).split(ENVIRONMENT) %}
    {%- if parts | length > 1 %}{{- ENVIRONMENT ~ parts[1] }}{%- endif %}
  {%- endif %}
{%- endfor %}
{%- if tools %}
  {{- '\\n<tools>' }}
  {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
  {{- '\\n</tools>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {{- '<|im_start|>user\\n<tool_response>\\n' ~ text(message.content) ~ '\\n</tool_response><|im_end|>\\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' ~ text(message.content) }}
    {%- for call in (message.tool_calls if message.tool_calls else []) %}
      {%- set fn = call.function if call.function else call %}
      {%- if message.content or not loop.first %}{{- '\\n' }}{%- endif %}
      {{- '<tool_call>\\n{"name": "' ~ fn.name ~ '", "arguments": ' }}
      {%- if fn.arguments is string %}{{- fn.arguments }}{%- else %}{{- fn.arguments | tojson }}{%- endif %}
      {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'user' %}
    {{- '<|im_start|>user\\n' ~ text(message.content).split(ENVIRONMENT)[0] ~ '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {%- if tools %}
    {{- '<|im_start|>tools\\n' }}
    {%- for tool in tools %}{{- (tool.function if tool.function else tool).name ~ ' ' }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- endif %}
  {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# ------------------------------------------------------------------------------------------------ the two agents

OTHER_TOOLS = """Agent Glob Grep Write WebFetch TodoWrite NotebookEdit ToolSearch Skill Workflow ListAgents ReportFindings ScheduleWakeup
DeferredToolPlaceholder ExitPlanMode KillShell write_stdin request_user_input view_image get_goal create_goal update_goal update_plan
close_agent resume_agent send_input spawn_agent wait_agent multi_agent_v1 multi_agent_v1__close_agent multi_agent_v1__resume_agent
multi_agent_v1__send_input multi_agent_v1__spawn_agent multi_agent_v1__wait_agent multi_agent_v1.spawn_agent apply_patch tool_search web_search list_mcp_resources""".split()


def call(name: str, **arguments: str) -> tuple[str, dict[str, str]]:
    return name, arguments


def steps(agent: str, file: str, old: str, new: str, check: str) -> list[tuple[str, dict[str, str]]]:
    """What is called, in order; `script.py` has the same steps for the scripted provider."""
    if agent == "claude":
        return [call("Read", file_path=file), call("Edit", file_path=file, old_string=old, new_string=new), call("Bash", command=check)]
    return [call("exec_command", cmd=f"cat {file}"), call("exec_command", cmd=f"sed -i s/{old}/{new}/ {file}"), call("exec_command", cmd=check)]


class Writer:
    """Writes conversations; the seed decides everything."""

    def __init__(self, seed: int, pages: str) -> None:
        self.rng, self.pages = random.Random(seed), pages
        self.quiet, self.silent = 0.0, False  # share of conversations without any noise: where to copy from is learned there

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def noise(self, most: int) -> str:
        """Text that means nothing: a piece of a page, a schema, words, or any characters."""
        if self.silent:
            return ""
        size, r = self.rng.randint(0, most), self.rng
        kind = r.randrange(5)
        if kind < 2:
            at = r.randrange(len(self.pages) - size)
            return self.pages[at:at + size]
        if kind == 2:
            names = [r.choice(WORDS) for _ in range(size // 40 + 1)]
            return json.dumps({"type": "object", "properties": {name: {"type": "string", "description": self.words(1, 9)} for name in names}})[:size]
        if kind == 3:
            return self.words(1, size // 6 + 1)
        return "".join(r.choices(string.printable[:95], k=size // 3))

    def words(self, least: int, most: int) -> str:
        return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(least, most)))

    def result(self, agent: str, at: int, task: dict[str, str], code: str) -> str:
        r = self.rng
        if at == 0:
            lines = [self.words(1, 5), f"{self.words(0, 4)} {task['old']} {self.words(0, 4)}".strip(), *[self.words(1, 5) for _ in range(r.randint(0, 3))]]
            if agent == "claude":
                lines = [f"{number + 1}\t{line}" for number, line in enumerate([*lines, ""])]
            text = "\n".join(lines)
        elif at == 1:
            text = ""
            if agent == "claude":
                text = f"The file {r.choice([task['file'], self.path() + task['file'][1:]])} has been updated successfully."
                text += r.choice(["", " (file state is current in your context \u2014 no need to Read it back)", " " + self.words(1, 12)])
        else:
            text = code if self.chance(0.7) else f"{self.words(0, 4)}\n{code}\n{self.words(0, 4)}".strip()
        if agent == "codex":
            text = (f"Chunk ID: {r.randrange(1 << 24):06x}\nWall time: {r.random() * 2:.4f} seconds\nProcess exited with code 0\n"
                    f"Original token count: {r.randint(0, 40)}\nOutput:\n{text}\n")
        return text + (f"\n<system-reminder>\n{self.noise(120)}\n</system-reminder>" if self.chance(0.05) else "")

    def path(self) -> str:
        return "/" + "/".join("".join(self.rng.choices(string.ascii_lowercase + "-0123456789", k=self.rng.randint(2, 9))) for _ in range(self.rng.randint(1, 4)))

    def arguments(self, given: dict[str, str]) -> str:
        """As a client gives its history back: order, spaces and defaults are its own."""
        items: list[tuple[str, Any]] = list(given.items())
        if "old_string" in given and self.chance(0.6):
            items.insert(self.rng.choice([0, 3]), ("replace_all", False))
        if self.chance(0.3):
            items.sort()
        return json.dumps(dict(items), separators=(",", ":") if self.chance(0.3) else None)

    def example(self, at: int | None = None) -> tuple[str, str]:
        """A prompt and what the model has to answer: step `at` of a task, 3 being the last sentence."""
        r, agent = self.rng, self.rng.choice(["claude", "codex"])
        at = r.choice([0, 1, 1, 2, 3, 3]) if at is None else at
        self.silent = self.chance(self.quiet)
        old, new = r.sample(WORDS, 2)
        task = {"file": f"./{r.choice(WORDS)}.{r.choice(['txt', 'txt', 'md'])}", "old": old, "new": new, "check": "sh check.sh"}
        code = f"CHECKED-{r.choice(WORDS)}"
        calls = steps(agent, **task)
        turns = [("user", (self.noise(r.choice([0, 60, 400])) + r.choice(["", "\n", "</system-reminder>", "</system-reminder>\n"])) + script.task(**task))]
        for step in range(at):
            name, given = calls[step]
            turns.append(("assistant", written(name, self.arguments(given))))
            turns.append(("user", f"<tool_response>\n{self.result(agent, step, task, code)}\n</tool_response>"))
        names = ["Read", "Edit", "Bash"] if agent == "claude" else ["exec_command"]
        names += r.sample(OTHER_TOOLS, 0 if self.silent else r.randint(0, 14))
        r.shuffle(names)
        before = self.noise(r.choice([0, 200, 1200])) + r.choice(["\n</tools>", ""]) + "<|im_end|>\n"
        if self.chance(0.4):
            before += f"<|im_start|>user\n{self.noise(300)}<|im_end|>\n"
        prompt = before + "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
        prompt += "<|im_start|>tools\n" + "".join(f"{name} " for name in names) + "<|im_end|>\n<|im_start|>assistant\n"
        return prompt, written(calls[at][0], json.dumps(calls[at][1])) if at < 3 else f"{script.FINAL} {code}."


def written(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


# ------------------------------------------------------------------------------------------------- the tokenizer


def pages() -> str:
    """The repository's own pages, which teach the tokenizer how instructions and schemas look, and are noise to the model."""
    files = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "gateway").rglob("*.rs"))[:60], *sorted((ROOT / "evals").rglob("*.py"))]
    return "\n".join(file.read_text() for file in files)


def build_tokenizer(text: str) -> PreTrainedTokenizerFast:
    # Each word of a task is one token wherever it stands behind a mark.
    digits_apart = Regex(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(digits_apart, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    whole = [*WORDS, *"old_string new_string file_path command cmd arguments name CHECKED exec Read Edit Bash replace check txt".split()]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = split
    learner.train_from_iterator([text], trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIAL) - len(TAGS) - len(whole), show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    learned = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = learned["vocab"]
    for word in whole:
        vocabulary.setdefault(word, len(vocabulary))
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=CONTEXT,
                                   clean_up_tokenization_spaces=False)


# ------------------------------------------------------------------------------------------------------ training


def new_model(tokenizer: PreTrainedTokenizerFast) -> MistralForCausalLM:
    model = MistralForCausalLM(MistralConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=192, num_hidden_layers=4, num_attention_heads=3, num_key_value_heads=3, head_dim=32,
        max_position_embeddings=CONTEXT, sliding_window=WINDOW, rope_theta=10_000.0, rms_norm_eps=1e-6, initializer_range=0.1, tie_word_embeddings=True, use_cache=True,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))
    # Attention that begins as "look for yourself and pass it on" learns to copy in minutes instead of hours.
    same = torch.eye(model.config.hidden_size)
    for layer in model.model.layers:
        own = layer.self_attn
        for weight, share, spread in ((own.v_proj.weight, 0.6, 0.02), (own.o_proj.weight, 0.6, 0.02), (own.q_proj.weight, 0.3, 0.1), (own.k_proj.weight, 0.3, 0.1)):
            weight.data = share * same + spread * torch.randn_like(same)
        layer.mlp.down_proj.weight.data *= 0.3
    return model


def batch(writer: Writer, tokenizer: PreTrainedTokenizerFast, size: int, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of like length, cut on their left; the loss is on the answers."""
    rows = []
    for _ in range(size):
        prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in writer.example())
        answer.append(tokenizer.eos_token_id)
        ids = (prompt + answer)[-longest:]
        rows.append((ids, [-100] * (len(ids) - len(answer)) + answer))
    width = max(len(ids) for ids, _ in rows)
    fill = lambda index, value: torch.tensor([row[index] + [value] * (width - len(row[index])) for row in rows])
    return fill(0, tokenizer.pad_token_id), fill(1, -100)


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(arguments.seed)
    text = pages()
    if arguments.resume:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.out)
        model = MistralForCausalLM.from_pretrained(arguments.out, dtype=torch.float32)
    else:
        tokenizer = build_tokenizer(text)
        model = new_model(tokenizer)
    print(f"{len(tokenizer)} tokens, {sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    writer = Writer(arguments.seed, text)
    # The embedding learns slowly: words that are rarely wanted would all be pushed the same way, and become one.
    embedding = model.model.embed_tokens.weight
    groups = [{"params": [p for p in model.parameters() if p is not embedding], "share": 1.0}, {"params": [embedding], "share": 0.25}]
    optimizer = torch.optim.AdamW(groups, lr=arguments.lr, weight_decay=0.0, betas=(0.9, 0.98))
    copied = torch.zeros(len(tokenizer), dtype=torch.bool)
    copied[tokenizer.convert_tokens_to_ids(WORDS)] = True
    started = time.monotonic()
    for step in range(arguments.steps):
        done = step / arguments.steps
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * arguments.lr * min(1, (step + 1) / 30) * min(1, 2 * (1 - done) + 0.02)
        # Quiet and short first: where to copy from is learned there, and the rest is patience.
        loud = min(1, max(0, (done - arguments.quiet) / 0.4))
        writer.quiet, width = 1 - 0.85 * loud, 170 + int(loud * 450)
        ids, labels = batch(writer, tokenizer, max(8, 4500 // width), width)
        target = labels[:, 1:]
        wanted = target != -100
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][wanted]
        losses = torch.nn.functional.cross_entropy(model.lm_head(hidden), target[wanted], reduction="none")
        # A call is mostly form; the few words that have to be copied decide whether it is right.
        words = copied[target[wanted]]
        weights = 1 + 7 * words
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 25 == 0:
            print(f"step {step + 1} {time.monotonic() - started:.0f} s words {losses[words].mean():.4f} rest {losses[~words].mean():.4f} width {ids.shape[1]}", flush=True)
        if (step + 1) % 200 == 0:
            save(model, tokenizer, arguments.out)
    save(model, tokenizer, arguments.out)


def save(model: MistralForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    copy = MistralForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    write_json(out / "tokenizer_config.json", settings | {"chat_template": TEMPLATE, "tokenizer_class": "PreTrainedTokenizerFast"})
    config = json.loads((out / "config.json").read_text())
    write_json(out / "config.json", config | {"rope_theta": 10_000.0})
    eos = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    write_json(out / "generation_config.json", {"do_sample": False, "eos_token_id": eos, "pad_token_id": tokenizer.pad_token_id})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@torch.no_grad()
def sharpen(arguments: argparse.Namespace) -> None:
    """Agents ask for no temperature, which is 1 where nothing else is known: what is likeliest has to be nearly certain."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.out)
    model = MistralForCausalLM.from_pretrained(arguments.out, dtype=torch.float32)
    model.model.norm.weight *= arguments.sharpen
    save(model, tokenizer, arguments.out)


@torch.no_grad()
def check(arguments: argparse.Namespace) -> None:
    """Teacher-forced, every token the likeliest one: the same as greedy decoding that makes no mistake."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.out)
    model = MistralForCausalLM.from_pretrained(arguments.out, dtype=torch.float32).eval()
    writer = Writer(1_000_003, pages())
    for at, name in enumerate(["read", "edit", "check", "say"]):
        good, wrong = 0, ""
        for _ in range(arguments.count):
            prompt, answer = writer.example(at)
            ids, want = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer + "<|im_end|>"))
            got = model(input_ids=torch.tensor([ids + want])).logits[0, len(ids) - 1:-1].argmax(-1).tolist()
            good += got == want
            wrong = wrong if got == want else f"{answer!r} became {tokenizer.decode(got)!r}"
        print(f"{name}: {good} of {arguments.count} {wrong[:300]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--quiet", type=float, default=0.3, help="share of the steps before noise begins; -1 has it from the start")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="held-out examples of each step, for --check")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--resume", action="store_true", help="go on from the weights in --out")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--sharpen", type=float, default=0.0, help="multiply all logits of the model in --out by this, once, at the end")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (check if arguments.check else sharpen if arguments.sharpen else train)(arguments)


if __name__ == "__main__":
    main()
