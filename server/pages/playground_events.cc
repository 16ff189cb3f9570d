#include "server/pages/playground_events.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace peerage {
namespace {

// Weights as floats: as many digits as a float has, and null for one that is no number.
using Json = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool, int64_t,
                                  uint64_t, float>;

float Seconds(absl::Duration duration) {
  return static_cast<float>(absl::ToDoubleSeconds(duration));
}

Json ToJson(const KeptPicks& picks) {
  Json layers = Json::array();
  for (const KeptPicks::Layer& layer : picks.layers) {
    layers.push_back({{"ids", layer.ids}, {"weights", layer.weights}});
  }
  return {{"picks",
           {{"first_position", picks.first_position},
            {"tokens", picks.tokens},
            {"layers", std::move(layers)}}}};
}

Json ToJson(const TokenDelta& delta) {
  return {{"delta", {{"ids", delta.tokens}, {"text", delta.text}}}};
}

Json ToJson(const CandidateFinish& finish) {
  return {{"finished",
           {{"reason", std::string(ChoiceName(kFinishReasons, finish.reason))},
            {"tokens", finish.completion_tokens},
            {"first_token_seconds", Seconds(finish.timings.time_to_first_token)},
            {"decode_seconds", Seconds(finish.timings.decode)}}}};
}

Json ToJson(const absl::Status& status) {
  if (status.ok()) return nullptr;
  return {{"error",
           {{"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())}}}};
}

}  // namespace

std::string ToLine(const PlaygroundEvent& event) {
  const Json json = std::visit([](const auto& one) { return ToJson(one); }, event);
  if (json.is_null()) return "";
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void PlaygroundEvents::OnPicks(const TokenPicks& picks) {
  KeptPicks kept{.first_position = picks.first_position, .tokens = picks.tokens};
  for (const ExpertPicks& layer : picks.layers) {
    kept.layers.push_back({.ids = {layer.ids.begin(), layer.ids.end()},
                           .weights = {layer.weights.begin(), layer.weights.end()}});
  }
  Add(std::move(kept));
}

void PlaygroundEvents::OnDelta(TokenDelta delta) { Add(std::move(delta)); }

// The picks of its trace were told before.
void PlaygroundEvents::OnFinished(CandidateFinish finish) {
  finish.trace = {};
  Add(std::move(finish));
}

void PlaygroundEvents::OnDone(absl::Status status, const Timings&) { Add(std::move(status)); }

void PlaygroundEvents::Add(PlaygroundEvent event) {
  absl::MutexLock lock(&mu_);
  events_.push_back(std::move(event));
}

bool PlaygroundEvents::HasRoom() const {
  absl::MutexLock lock(&mu_);
  was_full_ = was_full_ || events_.size() >= kMaxEvents;
  return events_.size() < kMaxEvents;
}

PlaygroundEvents::Taken PlaygroundEvents::Take(absl::Duration patience) {
  absl::MutexLock lock(&mu_);
  const auto any = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !events_.empty(); };
  mu_.AwaitWithTimeout(absl::Condition(&any), patience);
  return {.events = std::exchange(events_, {}), .has_room_again = std::exchange(was_full_, false)};
}

}  // namespace peerage
