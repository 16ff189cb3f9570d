#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {
namespace {

std::string Ids(const std::vector<TokenId>& tokens) {
  return absl::StrCat("[", absl::StrJoin(tokens, " "), "]");
}

// Says it only where it is not what it mostly is.
template <typename T>
std::string Unless(const T& usual, const char* name, const T& value) {
  return value == usual ? "" : absl::StrCat(", ", name, " ", value);
}

std::string Describe(const GenerateRequest& request) {
  const StoppingRules& rules = request.stopping;
  return absl::StrCat("Generate ", Ids(request.prompt), ", max_tokens ", rules.max_tokens,
                      Unless(1u, "candidates", request.candidates),
                      Unless(1.f, "temperature", request.sampling.temperature), ", seed ",
                      request.sampling.seed, Unless(0u, "min_tokens", rules.min_tokens),
                      Unless(std::string("[]"), "end_ids", Ids(rules.end_ids)),
                      Unless(std::string("[]"), "stop_token_ids", Ids(rules.stop_token_ids)),
                      Unless(std::string(), "stop", absl::StrJoin(rules.stop, "|")),
                      Unless(-1, "alternatives", request.alternatives),
                      Unless(false, "prompt_logprobs", request.prompt_logprobs),
                      Unless(std::string("[]"), "generated", Ids(request.generated)),
                      Unless(false, "is_over", request.is_over));
}

std::string Describe(const ScoreRequest& request) {
  const auto ids = [](std::string* out, const auto& tokens) { out->append(Ids(tokens)); };
  return absl::StrCat("Score ", Ids(request.context), ": ",
                      absl::StrJoin(request.continuations, " ", ids),
                      Unless(0, "alternatives", request.alternatives));
}

std::string Describe(const Arrival& arrival) {
  const SchedulingParams& scheduling = arrival.scheduling();
  const auto request = [](const auto& r) {
    return absl::StrCat(Describe(r), r.trace == ExpertTraceLevel::kFull ? ", traced" : "");
  };
  return absl::StrCat("turn ", arrival.turn, ": request ", arrival.handle, ": ",
                      std::visit(request, arrival.request),
                      Unless(0, "priority", scheduling.priority),
                      Unless(std::string(), "tenant", scheduling.tenant),
                      Unless(std::string(), "cache_salt", scheduling.cache_salt),
                      Unless(0, "deadline after", arrival.deadline_turns),
                      Unless(0, "queue deadline after", arrival.queue_deadline_turns), "\n");
}

std::string Describe(const Disturbance& disturbance) {
  static constexpr const char* kWhat[] = {"cancel",
                                          "the reader falls behind",
                                          "the reader catches up",
                                          "the step fails",
                                          "the step throws",
                                          "the model is lost",
                                          "stop",
                                          "the step hangs",
                                          "the next model fails to load",
                                          "there is no device for the next model"};
  return absl::StrCat("turn ", disturbance.turn, ": ", kWhat[static_cast<int>(disturbance.kind)],
                      Unless<RequestHandle>(0, "request", disturbance.handle),
                      Unless(0, "worker", disturbance.worker), "\n");
}

}  // namespace

std::string ToText(const World& world) {
  std::string text = absl::StrCat(
      "max_batch_tokens ", world.max_batch_tokens, ", max_sequences ", world.max_sequences,
      ", block_tokens ", world.block_tokens, ", num_blocks ", world.num_blocks, ", queue of ",
      world.queue.requests,
      Unless<int64_t>(INT64_MAX, "of prompt tokens", world.queue.prompt_tokens), ", tick ",
      absl::FormatDuration(world.tick), ", step ", absl::FormatDuration(world.step),
      Unless(std::string("0"), "and each token", absl::FormatDuration(world.token)),
      ", slow_reader_timeout ", absl::FormatDuration(world.slow_reader_timeout),
      Unless(false, "prefix cache", world.prefix_cache), Unless(0, "workers", world.workers),
      Unless(false, "optimistic", world.optimistic), Unless(false, "poisoned", world.poisoned),
      Unless(false, "a crowd", world.is_crowd), "\n");
  for (const Arrival& arrival : world.arrivals) text += Describe(arrival);
  for (const Disturbance& disturbance : world.disturbances) text += Describe(disturbance);
  return text;
}

}  // namespace peerage
