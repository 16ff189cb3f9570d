#include "tests/unit/engine/simulation/client.h"

#include <algorithm>

namespace peerage {
namespace {

// What a request brings, counted from what was asked and not from what the engine makes of it.
void Count(const GenerateRequest& request, Client& client) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const auto generated = static_cast<int64_t>(request.generated.size());
  client.prompt_tokens = prompt + generated;
  if (request.is_over) return;
  client.known_tokens =
      request.candidates == 1 ? prompt + generated : prompt - 1 + request.candidates;
  client.most_tokens = request.candidates * (prompt + request.stopping.max_tokens);
}

void Count(const ScoreRequest& request, Client& client) {
  client.prompt_tokens = client.known_tokens = static_cast<int64_t>(request.context.size());
  for (const std::vector<TokenId>& continuation : request.continuations) {
    client.known_tokens += static_cast<int64_t>(continuation.size()) - 1;
  }
  client.most_tokens = client.known_tokens;
}

}  // namespace

Client::Client(const Arrival& arrival, absl::Duration tick, const ReaderParts& parts,
               absl::Time now)
    : arrival(&arrival),
      reader(Reader::Of(arrival, parts)),
      tenant(static_cast<int>(arrival.scheduling().tenant.size())),
      arrived(now) {
  if (arrival.deadline_turns > 0) deadline = now + arrival.deadline_turns * tick;
  if (arrival.queue_deadline_turns > 0) queue_deadline = now + arrival.queue_deadline_turns * tick;
  std::visit([this](const auto& request) { Count(request, *this); }, arrival.request);
  absl::Duration patience = kPatience + arrival.scheduling().priority * kPriorityStep;
  if (std::holds_alternative<ScoreRequest>(arrival.request)) patience += kThroughputStep;
  order = {std::min(now + patience, deadline), arrival.handle};
}

}  // namespace peerage
