#!/usr/bin/env python3
"""Makes tests/golden/tokenizer: what Hugging Face's tokenizers and transformers say.

  make_tokenizer_golden.py SmolLM2-135M-Instruct.Q4_1.gguf

Needs the Python packages gguf, tokenizers and transformers. The same versions and the same Python
give the same files: random texts come from a fixed seed, the others from Python's own library and
Debian's /usr/share/common-licenses.
"""

import glob
import gzip
import itertools
import json
import os
import pathlib
import random
import sys
import sysconfig
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers import trainers
from transformers import PreTrainedTokenizerFast

OUT = pathlib.Path(__file__).parent / "tokenizer"
SEED = 20240704
LINES_WITH_IDS = 3000  # the others have a hash of their ids

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_WORDS = LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def smollm2(fields):
    """The tokenizer of the GGUF file, and its chat template."""
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3]
    )
    return tokenizer, fields["tokenizer.chat_template"].contents()


def source_lines(count):
    """Lines of Python's library, spread over all its files."""
    lines = []
    for path in sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/*.py")):
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="ignore")
        lines += [line for line in text.split("\n") if line.strip()]
    return lines[:: max(1, len(lines) // count)][:count]


def licence_lines(count):
    lines = []
    for path in sorted(glob.glob("/usr/share/common-licenses/*")):
        if not os.path.islink(path):
            text = pathlib.Path(path).read_text(encoding="utf-8", errors="ignore")
            lines += [line for line in text.split("\n") if line.strip()]
    return lines[:: max(1, len(lines) // count)][:count]


class Writer:
    """Random texts of many kinds."""

    SCRIPTS = {
        "latin": (0x61, 0x7A),
        "latin1": (0xC0, 0x17F),
        "greek": (0x391, 0x3C9),
        "cyrillic": (0x410, 0x44F),
        "hebrew": (0x5D0, 0x5EA),
        "arabic": (0x620, 0x65F),
        "devanagari": (0x900, 0x97F),
        "thai": (0xE01, 0xE5B),
        "hangul": (0xAC00, 0xD7A3),
        "hiragana": (0x3041, 0x309F),
        "katakana": (0x30A0, 0x30FF),
        "han": (0x4E00, 0x9FFF),
    }
    EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
             "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "1\ufe0f\u20e3", "\U0001f3f3\ufe0f\u200d\U0001f308",
             "\U0001f9d1\u200d\U0001f680", "\u263a", "\U0001fae0"]
    SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\v", "\f", "\x85", "\xa0", "\u1680",
              "\u180e", "\u2002", "\u2009", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f",
              "\u205f", "\u2060", "\u3000", "\ufeff", "\n\n", " \n", "\n ", "\t\t"]
    CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'LL",
                    "\u2019s", "\u2019t", "''s", "' s", "'x", "'", "'l", "'\u017f"]
    PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u2013\u2014\u2018\u201c\u2026\u20ac\xa7\xb7"

    def __init__(self, seed, special):
        self.random = random.Random(seed)
        self.special = special
        # Characters that Unicode 14 (PCRE2 10.42's) knows: docs/tokenizer.md lists the later ones.
        assert unicodedata.unidata_version == "14.0.0", "run with Python 3.11"
        self.assigned = [
            chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
        ]

    def word(self, script, most=8):
        low, high = self.SCRIPTS[script]
        return "".join(
            chr(self.random.randint(low, high)) for _ in range(self.random.randint(1, most))
        )

    def sentence(self, script):
        return " ".join(self.word(script) for _ in range(self.random.randint(1, 6)))

    def digits(self):
        r = self.random
        kinds = [
            lambda: str(r.randint(0, 10 ** r.randint(1, 20))),
            lambda: f"{r.uniform(-1e6, 1e6):.{r.randint(0, 6)}f}",
            lambda: f"{r.randint(0, 10**9):,}",
            lambda: f" {r.randint(0, 9999)} {r.randint(0, 99)}",
            lambda: hex(r.randint(0, 2**32)),
            lambda: f"{r.randint(1, 12)}/{r.randint(1, 31)}/{r.randint(1900, 2100)}",
            lambda: "".join(r.choice("\xb2\xbd\u2167\u2460\u0664\u096c\u0e53\uff17\U0001d7d8") for _ in range(3)),
            lambda: f"x{r.randint(0, 99)}y {r.random():e}",
        ]
        return "".join(r.choice(kinds)() for _ in range(r.randint(1, 3)))

    def contraction(self):
        return " ".join(
            self.word("latin") + self.random.choice(self.CONTRACTIONS)
            + self.random.choice(["", self.word("latin", 3)])
            for _ in range(self.random.randint(1, 4))
        )

    def emoji(self):
        r = self.random
        return "".join(
            r.choice(self.EMOJI + [chr(r.randint(0x1F300, 0x1F64F)), " ", self.word("latin")])
            for _ in range(r.randint(1, 6))
        )

    def combining(self):
        r = self.random
        return "".join(
            r.choice("aeiounAEOU\u0430\u3042 ") + "".join(
                chr(r.choice([r.randint(0x300, 0x36F), r.randint(0x20D0, 0x20F0), 0x3099]))
                for _ in range(r.randint(0, 3))
            )
            for _ in range(r.randint(1, 8))
        )

    def spaces(self):
        r = self.random
        return "".join(
            r.choice(self.SPACES + ["a", "Word", "7", "!", "\u4e2d"]) for _ in range(r.randint(1, 12))
        )

    def controls(self):
        return "".join(
            chr(self.random.choice([self.random.randint(0, 0x1F), self.random.randint(0x7F, 0x9F), 0x61]))
            for _ in range(self.random.randint(1, 6))
        )

    def anything(self):
        return "".join(self.random.choice(self.assigned) for _ in range(self.random.randint(1, 8)))

    def specials(self):
        r = self.random
        return "".join(
            r.choice(self.special + [" ", "\n", self.word("latin"), "<|", "|>", "<|im_", "42"])
            for _ in range(r.randint(1, 6))
        )

    def mixed(self):
        r = self.random
        kinds = [self.digits, self.contraction, self.emoji, self.combining, self.spaces, self.anything]
        kinds += [lambda s=s: self.word(s) for s in self.SCRIPTS]
        kinds += [lambda: r.choice(self.PUNCTUATION) * r.randint(1, 4)]
        return r.choice(["", " "]).join(r.choice(kinds)() for _ in range(r.randint(2, 6)))


def corpus(special):
    writer = Writer(SEED, special)
    texts = source_lines(3000) + licence_lines(900)
    for kind, count in [
        (writer.digits, 900), (writer.contraction, 600), (writer.emoji, 700),
        (writer.combining, 600), (writer.spaces, 900), (writer.controls, 300),
        (writer.anything, 900), (writer.specials, 400), (writer.mixed, 1600),
    ]:
        texts += [kind() for _ in range(count)]
    for script in writer.SCRIPTS:
        texts += [writer.sentence(script) for _ in range(120)]
    texts += [chr(c) for c in range(256)] + ["a" + chr(c) + "1" for c in range(256)] + [""]
    texts = list(dict.fromkeys(texts))
    writer.random.shuffle(texts)
    return texts


def fnv1a(ids):
    hashed = 0xCBF29CE484222325
    for byte in b"".join(i.to_bytes(4, "little") for i in ids):
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return f"{hashed:016x}"


def ids_of(tokenizer, text, special=True):
    tokenizer.encode_special_tokens = not special
    return tokenizer.encode(text, add_special_tokens=False).ids


def variants():
    """Small tokenizers of every kind that is implemented, over one vocabulary."""
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.train_from_iterator(source_lines(2000), trainer)
    trained_model = json.loads(trained.to_str())["model"]
    vocab, merges = trained_model["vocab"], [tuple(m) for m in trained_model["merges"]]

    def split(pattern, behavior="isolated", invert=False):
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(pattern, behavior, invert),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    shapes = {
        "gpt-2": byte_level,
        "prefix space": pre_tokenizers.ByteLevel(add_prefix_space=True),
        "prefix space after digits": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=False),
             pre_tokenizers.ByteLevel(add_prefix_space=True)]
        ),
        "one word": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        "smollm": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level]
        ),
        "llama 3": split(Regex(LLAMA3_WORDS)),
        "qwen 2": split(Regex(QWEN2_WORDS)),
        "cl100k": split(Regex(CL100K_WORDS)),
        "cl100k, removed, inverted": split(Regex(CL100K_WORDS), "removed", True),
        "literal": split("ab", "isolated"),
        "empty matches": split(Regex(r"x*"), "merged_with_previous"),
        "line ends": split(Regex(r"\s+$|^\S"), "isolated"),
    }
    for behavior in ["removed", "merged_with_previous", "merged_with_next", "contiguous", "isolated"]:
        for invert in [False, True]:
            shapes[f"{behavior}, inverted {invert}"] = split(Regex(r"\s|\p{N}+"), behavior, invert)

    added = [
        AddedToken("<|end|>", special=True, normalized=False),
        AddedToken("<|end|>x", special=True, normalized=False),
        AddedToken("<left>", special=True, normalized=False, lstrip=True),
        AddedToken("<right>", special=True, normalized=False, rstrip=True),
        AddedToken("<both>", special=False, normalized=False, lstrip=True, rstrip=True),
        AddedToken("lone", special=False, normalized=False, single_word=True),
        AddedToken("<tool>", special=False, normalized=True),
        AddedToken("<|end|>tool", special=False, normalized=True),
        AddedToken("\u00e9t\u00e9", special=False, normalized=False),
    ]
    writer = Writer(SEED + 1, [a.content for a in added])
    texts = [
        "", " ", "hello world", " hello", "Hello's WE'LL  x\n\n y", "a1b22c333 4444", "abab ab aab",
        "xxaxx", "lone lonely alone lone. _lone \u00e9lone lone\u0301 \u24b6lone \u00b7lone",
        "a  <left>  b  <right>  c  <both>  d<both> <both>", "<right> \n\u3000<left>",
        "<|end|>x<|end|>tool<|end|><tool>", "<|end|><tool>tool", "\u00e9t\u00e9 \u00e9te", "def f(x):\n    return x\n",
        "\u4f60\u597d 123", "   ", "a\r\nb", "'S 'RE \u017f'\u017f",
    ]
    texts += [writer.specials() for _ in range(40)] + [writer.mixed() for _ in range(30)]
    texts += [writer.spaces() for _ in range(20)]
    result = []
    for (name, pre_tokenizer), ignore_merges in itertools.product(shapes.items(), [False, True]):
        if ignore_merges and name not in ("llama 3", "one word"):
            continue
        tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_tokens(added)
        cases = [[t, ids_of(tokenizer, t), ids_of(tokenizer, t, special=False)] for t in texts]
        form = json.loads(tokenizer.to_str())
        del form["model"]["vocab"], form["model"]["merges"]
        suffix = ", merges ignored" if ignore_merges else ""
        result.append({"name": name + suffix, "tokenizer": form, "cases": cases})
    return {"vocab": vocab, "merges": merges, "variants": result}


def templates(smollm2_template):
    turn = "'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'"
    opening = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    plain = "{% for message in messages %}{{" + turn + "}}{% endfor %}" + opening
    return {
        "smollm2": smollm2_template,
        "plain": plain,
        "default for the prompt": "{% if not add_generation_prompt is defined %}"
        "{% set add_generation_prompt = false %}{% endif %}" + plain,
        "attributes and trimming": """
{#- A comment. -#}
{%- if messages[0].role != "system" -%}
    {{- '<|im_start|>system\\nBe brief.<|im_end|>\\n' -}}
{%- endif -%}
{%- for m in messages -%}
    {{- '<|im_start|>' ~ m.role ~ '\\n' -}}
    {{- m.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
""",
        "indented blocks": """{% for message in messages %}
    {% if message['role'] in ['system', 'user', 'assistant'] %}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
    {% else %}
{{ raise_exception('unknown role') }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
""",
        "tools": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- message.content.strip() | trim }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
        "system first, the rest sliced": "{% if messages[0].role == 'system' %}"
        "{% set rest = messages[1:] %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
        "{% else %}{% set rest = messages %}{% endif %}"
        + plain.replace("in messages", "in rest"),
        "not: trimmed content": plain.replace("message['content']", "message['content'] | trim"),
        "not: looks into content": plain.replace(
            "{{'<|im", "{% if message['content'] %}{% endif %}{{'<|im"
        ),
        "not: a BOS": "{{ bos_token }}" + plain,
        "not: no newline": plain.replace("'<|im_end|>' + '\\n'", "'<|im_end|>'"),
        "not: other markers": plain.replace("<|im_start|>", "<|start|>"),
        "not: drops system": plain.replace("{{'<|im", "{% if message.role == 'system' %}{% continue %}{% endif %}{{'<|im"),
        "not: renames a role": plain.replace("+ message['role'] +", "+ ('model' if message['role'] == 'assistant' else message['role']) +"),
        "not: no prompt": plain.replace(opening, ""),
        "not: open tag": "{% for message in messages %}{{ 'x'",
        "not: empty": "",
        "not: only the last turn": plain.replace("{{'<|im", "{% if loop.last %}{{'<|im").replace(
            "{% endfor %}", "{% endif %}{% endfor %}"
        ),
    }


def chats(tokenizer, smollm2_template):
    conversations = [
        [("user", "Hello")],
        [("system", "Be terse."), ("user", "What is 2 + 2?")],
        [("user", "Hi"), ("assistant", "Hello! How can I help?"), ("user", "Write 'x' 42 times.")],
        [("user", "  leading and trailing \n\n")],
        [("user", "")],
        [("system", ""), ("user", "\n")],
        [("user", "\u4f60\u597d \U0001f600 e\u0301"), ("assistant", "```py\nprint(1)\n```"), ("user", "\t1\r\n2")],
        [("assistant", "I begin."), ("system", "late system"), ("user", "ok")],
    ]
    conversations = [[{"role": r, "content": c} for r, c in turns] for turns in conversations]

    def render(template, turns, **options):
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, chat_template=template, bos_token="<|im_start|>"
        )
        return fast.apply_chat_template(turns, add_generation_prompt=True, **options)

    result = {"chats": [], "templates": []}
    for turns in conversations:
        ids = render(smollm2_template, turns, tokenize=True)
        result["chats"].append({"turns": turns, "ids": ids})
    for name, template in templates(smollm2_template).items():
        entry = {"name": name, "template": template, "renders": []}
        if not name.startswith("not: "):
            entry["renders"] = [render(template, turns, tokenize=False) for turns in conversations]
        result["templates"].append(entry)
    result["conversations"] = conversations
    return result


def write(name, text):
    # No time stamp: the same content makes the same file.
    (OUT / name).write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def main():
    fields = gguf.GGUFReader(sys.argv[1]).fields
    tokenizer, chat_template = smollm2(fields)
    OUT.mkdir(exist_ok=True)
    write("smollm2_tokenizer.json.gz", tokenizer.to_str())
    special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    lines = []
    for i, text in enumerate(corpus(special)):
        ids = ids_of(tokenizer, text)
        lines.append(json.dumps([text, ids if i < LINES_WITH_IDS else fnv1a(ids)]))
    write("corpus.jsonl.gz", "\n".join(lines) + "\n")
    write("variants.json.gz", json.dumps(variants()))
    write("chat.json.gz", json.dumps(chats(tokenizer, chat_template), indent=1))
    print(f"{len(lines)} lines")


if __name__ == "__main__":
    main()
