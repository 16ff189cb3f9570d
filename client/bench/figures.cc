#include "client/bench/figures.h"

#include <algorithm>
#include <utility>

#include "client/call_status.h"

namespace peerage::client {
namespace {

constexpr LatencyName kLatencyNames[] = {
    {Latency::kTimeToFirstToken, "ttft", "TTFT", "Time to First Token"},
    {Latency::kTimePerOutputToken, "tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
    {Latency::kInterToken, "itl", "ITL", "Inter-token Latency"},
    {Latency::kEndToEnd, "e2el", "E2EL", "End-to-end Latency"},
    {Latency::kClientQueue, "client_queue_time", "Client Queue Time", "Client-side Queueing"},
    {Latency::kEndToEndWithQueue, "e2el_including_client_queue", "E2EL incl. Client Queue",
     "Queue-inclusive End-to-end Latency"},
};

double Milliseconds(absl::Duration time) { return absl::ToDoubleMilliseconds(time); }

void AddLatencies(const CallRecord& call, Latency latency, std::vector<double>& values) {
  switch (latency) {
    case Latency::kTimeToFirstToken:
      if (!call.arrived.empty()) values.push_back(Milliseconds(call.time_to_first_token()));
      break;
    case Latency::kTimePerOutputToken:
      if (call.arrived.empty() || call.output_tokens < 2) break;
      values.push_back(Milliseconds(call.time_per_output_token()));
      break;
    case Latency::kInterToken:
      for (size_t i = 1; i < call.arrived.size(); ++i) {
        values.push_back(1e3 * static_cast<double>(call.arrived[i].seconds));
      }
      break;
    case Latency::kEndToEnd:
      values.push_back(Milliseconds(call.latency()));
      break;
    case Latency::kClientQueue:
      values.push_back(Milliseconds(call.queued()));
      break;
    case Latency::kEndToEndWithQueue:
      values.push_back(Milliseconds(call.ended - call.begun.due));
      break;
  }
}

// A call without tokens after the first keeps every bound on them.
bool IsGood(const CallRecord& call, const Goodput& goodput) {
  const auto keeps = [](absl::Duration time, std::optional<double> bound) {
    return !bound.has_value() || Milliseconds(time) <= *bound;
  };
  return keeps(call.time_to_first_token(), goodput.ttft_ms) &&
         keeps(call.time_per_output_token(), goodput.tpot_ms) &&
         keeps(call.latency(), goodput.e2el_ms);
}

// Of calls from the moment they are sent to just before they end.
size_t MostAtOnce(absl::Span<const CallRecord* const> calls) {
  std::vector<std::pair<absl::Duration, int>> changes;
  for (const CallRecord* call : calls) {
    changes.emplace_back(call->sent, 1);
    changes.emplace_back(call->ended, -1);
  }
  std::sort(changes.begin(), changes.end());
  int64_t now = 0;
  int64_t most = 0;
  for (const auto& [time, change] : changes) most = std::max(most, now += change);
  return most;
}

std::vector<uint64_t> TokensBySecond(absl::Span<const CallRecord* const> calls) {
  absl::Duration first = absl::InfiniteDuration();
  for (const CallRecord* call : calls) first = std::min(first, call->sent);
  std::vector<uint64_t> seconds;
  for (const CallRecord* call : calls) {
    double at = absl::ToDoubleSeconds(call->begun.intended - first);
    for (const Arrived& arrived : call->arrived) {
      at += static_cast<double>(arrived.seconds);
      const auto second = static_cast<size_t>(std::max(at, 0.0));
      if (seconds.size() <= second) seconds.resize(second + 1);
      seconds[second] += arrived.tokens;
    }
  }
  return seconds;
}

void AddCall(const CallRecord& call, RunFigures& figures) {
  const std::string code = absl::StatusCodeToString(call.status.code());
  ++figures.codes[code];
  figures.retries += call.begun.retries;
  if (!call.status.ok()) {
    ++figures.failed;
    figures.errors.emplace(code, DescribeError(call.status));
    return;
  }
  ++figures.completed;
  figures.input_tokens += call.prompt_tokens;
  figures.cached_input_tokens += call.cached_prompt_tokens;
  figures.output_tokens += call.output_tokens;
  figures.items += call.items;
}

std::vector<const CallRecord*> Completed(const RunRecords& run) {
  std::vector<const CallRecord*> calls;
  for (const CallRecord& call : run.calls) {
    if (call.status.ok()) calls.push_back(&call);
  }
  return calls;
}

}  // namespace

absl::Span<const LatencyName> LatencyNames() { return kLatencyNames; }

uint64_t RunFigures::peak_output_tokens() const {
  if (tokens_by_second.empty()) return 0;
  return *std::max_element(tokens_by_second.begin(), tokens_by_second.end());
}

std::vector<double> LatenciesOf(const RunRecords& run, Latency latency) {
  std::vector<double> values;
  for (const CallRecord* call : Completed(run)) AddLatencies(*call, latency, values);
  return values;
}

RunFigures FiguresOf(const RunRecords& run, const std::vector<double>& percents,
                     const Goodput& goodput) {
  RunFigures figures{.unfinished = run.unfinished, .duration = absl::ToDoubleSeconds(run.duration)};
  for (const CallRecord& call : run.calls) AddCall(call, figures);
  const std::vector<const CallRecord*> completed = Completed(run);
  for (const CallRecord* call : completed) figures.good += IsGood(*call, goodput) ? 1 : 0;
  figures.tokens_by_second = TokensBySecond(completed);
  figures.most_at_once = MostAtOnce(completed);
  for (const LatencyName& name : kLatencyNames) {
    figures.latencies[name.latency] = Describe(LatenciesOf(run, name.latency), percents);
  }
  return figures;
}

}  // namespace peerage::client
