#include "tests/support/needle_trial.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/task.h"
#include "tests/support/answer.h"
#include "tests/support/dice.h"
#include "tests/support/needle_models.h"
#include "tests/support/random_requests.h"

namespace peerage {
namespace {

constexpr int kBlockTokens = 32;

std::vector<TokenId> Joined(std::vector<TokenId> front, absl::Span<const TokenId> back) {
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

// A way to ask for what the needle is told, and what is to be answered.
struct Asked {
  std::string how;
  std::variant<GenerateRequest, ScoreRequest> request;
  Answer expected;
};

// The parts of the needle's own answer for which `becomes` names their place in another one.
template <typename Function>
Answer PartsOf(const Answer& alone, Function becomes) {
  Answer parts;
  for (const auto& [part, text] : alone) {
    if (const std::optional<AnswerPart> place = becomes(part)) parts[*place] = text;
  }
  return parts;
}

Asked Resumed(const GenerateRequest& needle, const Served& alone, uint32_t cut) {
  GenerateRequest request = needle;
  request.generated.assign(alone.tokens.begin(), alone.tokens.begin() + cut);
  return {absl::StrCat("resumed at ", cut), std::move(request),
          PartsOf(alone.answer, [cut](const AnswerPart& part) -> std::optional<AnswerPart> {
            const bool is_token = part.kind == AnswerPart::kToken || part.kind == AnswerPart::kText;
            if (is_token && part.position < cut) return std::nullopt;
            return part;
          })};
}

// Of the generated tokens after the prompt, or of everything after the first token.
Asked Scored(const GenerateRequest& needle, const Served& alone, bool whole) {
  const std::vector<TokenId>& prompt = needle.prompt;
  const size_t context = whole ? 1 : prompt.size();
  const absl::Span<const TokenId> rest = absl::MakeConstSpan(prompt).subspan(context);
  const auto shift = static_cast<uint32_t>(rest.size());
  ScoreRequest request{.context = {prompt.begin(), prompt.begin() + context},
                       .continuations = {Joined({rest.begin(), rest.end()}, alone.tokens)},
                       .alternatives = needle.alternatives,
                       .trace = needle.trace};
  return {whole ? "scored from its first token on" : "scored", std::move(request),
          PartsOf(alone.answer, [&](AnswerPart part) -> std::optional<AnswerPart> {
            if (part.kind == AnswerPart::kPicks) return part;
            if (part.kind == AnswerPart::kToken) {
              part.position += shift;
              return part;
            }
            if (part.kind != AnswerPart::kPrompt || !whole || part.position == 0) {
              return std::nullopt;
            }
            return AnswerPart{AnswerPart::kToken, 0, part.position - 1};
          })};
}

// Without the picks of the first tokens, which were computed for somebody else.
Answer ComputedOf(const Answer& answer, uint32_t cached_tokens) {
  return PartsOf(answer, [=](const AnswerPart& part) -> std::optional<AnswerPart> {
    if (part.kind == AnswerPart::kPicks && part.position < cached_tokens) return std::nullopt;
    return part;
  });
}

std::vector<Asked> WaysToAsk(Dice& dice, const GenerateRequest& needle, const Served& alone) {
  std::vector<Asked> asked = {{"as it is", needle, alone.answer}};
  if (needle.candidates > 1) return asked;
  const auto generated = static_cast<int>(alone.tokens.size());
  asked.push_back(Resumed(needle, alone, dice.Between(0, generated - 1)));
  if (needle.alternatives < 0) return asked;
  asked.push_back(Scored(needle, alone, /*whole=*/false));
  if (needle.prompt_logprobs) asked.push_back(Scored(needle, alone, /*whole=*/true));
  return asked;
}

std::variant<GenerateRequest, ScoreRequest> Neighbour(Dice& dice, const GenerateRequest& needle,
                                                      bool stays, int vocab_size) {
  // Some begin as the needle does.
  std::vector<TokenId> beginning;
  if (dice.OneIn(3)) {
    beginning.assign(needle.prompt.begin(),
                     needle.prompt.begin() + dice.Between(0, needle.prompt.size()));
  }
  if (dice.OneIn(3)) {
    ScoreRequest request = RandomScore(dice, vocab_size);
    request.context = Joined(std::move(beginning), request.context);
    return request;
  }
  GenerateRequest request = RandomGenerate(dice, vocab_size);
  request.prompt = Joined(std::move(beginning), request.prompt);
  if (stays || dice.OneIn(3)) request.stopping = {.max_tokens = 40};
  return request;
}

// What there is too little of for all that come.
enum class Scarce { kAnything, kSequences, kBlocks };

EngineShape RandomShape(Dice& dice, const std::vector<Asked>& asked, Scarce scarce) {
  RequestNeeds needs;
  for (const Asked& one : asked) {
    const Work work = std::visit([](const auto& request) { return WorkOf(request); }, one.request);
    const RequestNeeds own = NeedsOf(work, kBlockTokens);
    needs.blocks = std::max(needs.blocks, own.blocks);
    needs.sequences = std::max(needs.sequences, own.sequences);
  }
  EngineShape shape{.workers = dice.OneOf({1, 1, 2, 3}),
                    .threads = dice.OneOf({1, 1, 1, 2, 2, 3}),
                    .max_batch_tokens = dice.OneOf({1, 2, 3, 7, 16, 31, 33, 64, 200, 512}),
                    .max_sequences = dice.OneOf({1, 2, 3, 5, 8, 17, 33}),
                    .kv_blocks = dice.OneOf({0, 1, 4, 16, 64, 200}),
                    .prefix_cache = !dice.OneIn(4),
                    .admission = dice.OneOf({Admission::kReserve, Admission::kOptimistic})};
  if (scarce == Scarce::kSequences) shape.max_sequences = 64, shape.kv_blocks = 300;
  if (scarce == Scarce::kBlocks) {
    shape.max_batch_tokens = dice.OneOf({64, 100, 200});
    shape.max_sequences = 33;
    shape.kv_blocks = dice.Between(5, 12);
    shape.admission = Admission::kOptimistic;
  }
  shape.max_sequences = std::max(shape.max_sequences, static_cast<int>(needs.sequences));
  shape.kv_blocks += static_cast<int>(needs.blocks);
  return shape;
}

struct Guests {
  std::vector<Arrival> arrivals;
  size_t first_asked = 0;  // the needle in all its forms, among them
};

// Those that end at once have an optimistic engine expect as little of those that follow. They
// stay, until there are too few blocks, and the last to come, the needle, is put back.
Guests GuestsThatStay(Dice& dice, const std::vector<Asked>& asked, int vocab_size) {
  Guests guests;
  const auto add = [&](uint32_t max_tokens, int turn) {
    guests.arrivals.push_back(
        {.request = GenerateRequest{.prompt = RandomTokens(dice, dice.Between(20, 31), vocab_size),
                                    .sampling = {.seed = dice.Bits()},
                                    .stopping = {.max_tokens = max_tokens}},
         .turn = turn});
  };
  for (int i = 0; i < 6; ++i) add(/*max_tokens=*/1, /*turn=*/0);
  for (int i = 0; i < 8; ++i) add(/*max_tokens=*/60, dice.Between(8, 12));
  guests.first_asked = guests.arrivals.size();
  for (const Asked& one : asked) {
    guests.arrivals.push_back({.request = one.request, .turn = dice.Between(9, 13)});
  }
  return guests;
}

Guests RandomGuests(Dice& dice, const GenerateRequest& needle, const std::vector<Asked>& asked,
                    Scarce scarce, int vocab_size) {
  if (scarce == Scarce::kBlocks) return GuestsThatStay(dice, asked, vocab_size);
  const bool crowded = scarce == Scarce::kSequences;
  const int turns = crowded ? 0 : dice.OneOf({0, 4, 24});  // in which all arrive
  const int others = crowded ? 100 : dice.OneOf({0, 1, 3, 7, 15, 31});
  const int before = dice.Between(0, others);
  Guests guests;
  const auto add_others = [&](int count) {
    for (int i = 0; i < count; ++i) {
      Arrival arrival{.request = Neighbour(dice, needle, /*stays=*/crowded, vocab_size),
                      .turn = dice.Between(0, turns)};
      if (dice.OneIn(5)) arrival.cancelled_at = arrival.turn + dice.Between(0, 15);
      guests.arrivals.push_back(std::move(arrival));
    }
  };
  add_others(before);
  guests.first_asked = guests.arrivals.size();
  for (const Asked& one : asked) {
    guests.arrivals.push_back({.request = one.request, .turn = dice.Between(0, turns)});
  }
  add_others(others - before);
  return guests;
}

std::string Describe(uint64_t seed, const NeedleModel& model, const EngineShape& shape,
                     size_t requests) {
  return absl::StrCat("seed ", seed, ", model ", model.name, ", ", requests, " requests, ",
                      shape.workers, " workers, ", shape.threads, " threads, ",
                      shape.max_batch_tokens, " tokens a step, ", shape.max_sequences,
                      " sequences, ", shape.kv_blocks, " blocks",
                      shape.prefix_cache ? ", prefix cache" : "",
                      shape.admission == Admission::kOptimistic ? ", optimistic: " : ": ");
}

}  // namespace

std::optional<std::string> RunNeedleTrial(const NeedleModel& model, uint64_t seed,
                                          StepTally* tally) {
  Dice dice(seed);
  const int vocab_size = model.checkpoint->config().vocab_size;
  const GenerateRequest needle = RandomGenerate(dice, vocab_size);
  const Served alone = Serve(Load(model, {}), {}, {{.request = needle}})[0];
  if (!alone.status.ok()) return absl::StrCat("seed ", seed, " alone: ", alone.status.ToString());

  const std::vector<Asked> asked = WaysToAsk(dice, needle, alone);
  const Scarce scarce = dice.OneIn(20)  ? Scarce::kSequences
                        : dice.OneIn(4) ? Scarce::kBlocks
                                        : Scarce::kAnything;
  const EngineShape shape = RandomShape(dice, asked, scarce);
  const Guests guests = RandomGuests(dice, needle, asked, scarce, vocab_size);
  const std::vector<Served> served = Serve(Load(model, shape), shape, guests.arrivals, tally);
  for (size_t i = 0; i < asked.size(); ++i) {
    const Served& answered = served[guests.first_asked + i];
    std::optional<std::string> difference =
        FirstDifference(ComputedOf(asked[i].expected, answered.cached_tokens), answered.answer);
    if (tally != nullptr) {
      tally->cached_tokens += answered.cached_tokens;
      tally->preemptions += answered.preemptions;
    }
    if (!answered.status.ok()) difference = answered.status.ToString();
    if (!difference) continue;
    return absl::StrCat(Describe(seed, model, shape, guests.arrivals.size()), asked[i].how, ": ",
                        *difference);
  }
  return std::nullopt;
}

std::optional<std::string> RunNeedleTrial(uint64_t seed, StepTally* tally) {
  const std::vector<NeedleModel>& models = NeedleModels();
  return RunNeedleTrial(models[seed % models.size()], seed, tally);
}

}  // namespace peerage
