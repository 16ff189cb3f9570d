"""The model: what the harness asks, as calls of a client."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from tqdm import tqdm

from peerage import answers
from peerage.client import Client
from peerage.errors import InvalidArgument, NotFound
from peerage.lm_eval.documents import Document, Pair, group
from peerage.options import GenerateOptions, RequestOptions, ScoreItem, ScoreOptions

#: What the wire allows of stop strings.
_MOST_STOPS, _LONGEST_STOP = 16, 256

#: Options of generation that have the same name and meaning here and there.
_PASSED_ON = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty",
              "presence_penalty")


@register_model("peerage")
class PeerageLM(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """Scores and generates on a server. Only token ids are sent: the harness decides how context
    and continuation are tokenised together, and all choices of a document are one Score request, so
    that their context is computed once.

    `max_length` is what the harness calls the most tokens that a model can be given: one less than
    the server's context length, which counts the predicted token, too.
    """

    def __init__(self, server: str = "localhost:50051", model: str | None = None, *,
                 max_length: int | None = None, max_gen_toks: int = 256,
                 add_bos_token: bool | None = None, prefix_token_id: int | None = None,
                 concurrency: int = 32, seed: int = 1234, timeout: float | None = None,
                 priority: int | None = None, tenant: str | None = None,
                 batch_size: object = None, max_batch_size: object = None,
                 device: object = None) -> None:
        """`add_bos_token`: whether texts get a BOS token; None does what the model's tokenizer is
        configured to. `prefix_token_id`: what an empty context is replaced by; default the BOS
        token. `seed`: of sampled generations; the n-th request of a run takes seed + n. `timeout`:
        seconds for each call. `priority` and `tenant`: of all requests, so that an evaluation can
        stand back behind other users. The batch size and the device are the server's business: what the
        harness says of them is ignored."""
        super().__init__()
        del batch_size, max_batch_size, device
        self.client = Client(server, timeout=timeout)
        self.served = self._find(model)
        self.max_length = max_length or self.served.context_length - 1
        self.max_gen_toks = max_gen_toks
        self._add_bos_token = add_bos_token
        self._prefix_token_id = prefix_token_id
        self._concurrency = concurrency
        self._seed = seed
        self._common: RequestOptions = {
            "model": self.served.name, "priority": priority, "tenant": tenant}
        # A context is asked for once for each of its continuations.
        self._encode = functools.lru_cache(maxsize=4096)(self._ask_for_tokens)

    def _find(self, model: str | None) -> answers.Model:
        served = self.client.models()
        for candidate in served:
            if model in (None, candidate.name):
                return candidate
        raise NotFound(f"the server has no model {model!r}", code="NOT_FOUND")

    # Tokens.

    @property
    def eot_token_id(self) -> int:
        raise NotImplementedError("the server ends at its model's end-of-sequence tokens itself")

    @functools.cached_property
    def bos_token_id(self) -> int | None:
        try:
            return self._ask_for_tokens("", True)[0]
        except InvalidArgument:
            return None  # the model has none

    @property
    def prefix_token_id(self) -> int:
        if self._prefix_token_id is not None:
            return self._prefix_token_id
        if self.bos_token_id is None:
            raise ValueError("the model has no BOS token to begin a text with: say which token "
                             "does, as in prefix_token_id=0")
        return self.bos_token_id

    @functools.cached_property
    def _bos_text(self) -> str | None:
        if self.bos_token_id is None:
            return None
        return self.client.detokenize([self.bos_token_id], special_tokens=True,
                                      model=self.served.name)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None,
                   **kwargs: object) -> list[int]:
        """A BOS token is added once at most: a text that already begins with it gets none unless
        `add_special_tokens` says so."""
        del kwargs
        add_bos = add_special_tokens if add_special_tokens is not None else self._add_bos_token
        if add_special_tokens is None and self._bos_text and string.startswith(self._bos_text):
            add_bos = False
        return list(self._encode(string, add_bos))

    def _ask_for_tokens(self, text: str, add_bos: bool | None) -> tuple[int, ...]:
        if text == "" and not add_bos:
            return ()
        return self.client.tokenize(text, add_bos=add_bos, model=self.served.name).ids

    # Chats.

    @property
    def tokenizer_name(self) -> str:
        return f"{self.served.name}-{self.served.fingerprint}"

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The name of the template that the server renders chats with."""
        if chat_template is False or chat_template is None:
            return None
        if not self.served.chat_template:
            raise ValueError(f"the model {self.served.name} has no chat template that the server "
                             f"understands: {self.served.chat_template_error}")
        return self.served.chat_template

    def apply_chat_template(self, chat_history: list[dict[str, str]],
                            add_generation_prompt: bool = True) -> str:
        """The chat as the server renders it. Without generation prompt the last turn is the
        beginning of the assistant's, which goes on."""
        turns = list(chat_history)
        begun = "" if add_generation_prompt else turns.pop()["content"]
        ids = self.client.tokenize(turns, model=self.served.name).ids  # type: ignore[arg-type]
        rendered = self.client.detokenize(ids, special_tokens=True, model=self.served.name)
        return rendered + begun

    # Scores.

    def _loglikelihood_tokens(self, requests: Sequence[Pair], disable_tqdm: bool = False,
                              **kwargs: object) -> list[tuple[float, bool]]:
        del kwargs
        documents = group(requests, self.max_length + 1)
        result: list[tuple[float, bool]] = [(math.nan, False)] * len(requests)
        options: ScoreOptions = {**self._common, "add_bos": False}  # type: ignore[typeddict-item]
        scores = self.client.score_many(
            [ScoreItem(d.context, d.continuations) for d in documents],
            progress=not disable_tqdm, **options)
        for document, answer in zip(documents, scores, strict=True):
            self._put(document, answer, requests, result)
        return result

    def _put(self, document: Document, answer: answers.Scores, requests: Sequence[Pair],
             result: list[tuple[float, bool]]) -> None:
        for position, score in zip(document.positions, answer, strict=True):
            result[position] = (score.logprob, score.is_greedy)
            texts = requests[position][0]
            if texts is not None:  # windows of loglikelihood_rolling have none
                self.cache_hook.add_partial("loglikelihood", texts, result[position])

    def loglikelihood_rolling(self, requests: list[Instance],
                              disable_tqdm: bool = False) -> list[float]:
        windows: list[Pair] = []
        counts = []
        for (text,) in (request.args for request in requests):
            of_text = self._windows(text)
            windows += of_text
            counts.append(len(of_text))
        scores = iter(self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm))
        result = []
        for request, count in zip(requests, counts, strict=True):
            total = sum(logprob for logprob, _ in itertools.islice(scores, count))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
            result.append(total)
        return result

    def _windows(self, text: str) -> list[Pair]:
        rolling = utils.get_rolling_token_windows(
            token_list=self.tok_encode(text), prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length, context_len=1)
        return [(None, *utils.make_disjoint_window(window)) for window in rolling]

    # Generations.

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        result = []
        with concurrent.futures.ThreadPoolExecutor(self._concurrency) as pool:
            texts = pool.map(self._generate, itertools.count(), (r.args for r in requests))
            for request, text in zip(requests, tqdm(texts, total=len(requests),
                                                    disable=disable_tqdm), strict=True):
                self.cache_hook.add_partial("generate_until", request.args, text)
                result.append(text)
        return result

    def _generate(self, number: int, arguments: tuple[str, dict[str, Any]]) -> str:
        context, given = arguments
        options = dict(normalize_gen_kwargs(given, self.max_gen_toks))
        until = [stop for stop in options.pop("until") if stop]
        max_tokens = options.pop("max_gen_toks")
        room = self.max_length + 1 - max_tokens
        if room < 1:
            raise ValueError(f"max_gen_toks is {max_tokens}, must be at most {self.max_length}")
        ids = (self.tok_encode(context) or [self.prefix_token_id])[-room:]
        generation = self.client.generate(ids=ids, **{
            **_sampling(options, self._seed + number), **self._common,
            # The server stops at what it may be told; the rest is cut off afterwards.
            "max_tokens": max_tokens,
            "stop": [text for text in until if len(text.encode()) <= _LONGEST_STOP][:_MOST_STOPS]})
        return str(postprocess_generated_text(generation.text, until, None))


def _sampling(options: dict[str, Any], seed: int) -> GenerateOptions:
    """The harness's options of generation as ours. Raises ValueError for those we do not have."""
    do_sample = options.pop("do_sample")
    seed = options.pop("seed", seed)
    unknown = options.keys() - set(_PASSED_ON)
    if unknown:
        raise ValueError(f"options of generation that Peerage does not have: {', '.join(unknown)}")
    if not do_sample:
        return {"temperature": 0}
    return {**options, "seed": seed}  # type: ignore[typeddict-item]
