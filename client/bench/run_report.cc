#include "client/bench/run_report.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr int kColumns = 50;

// A title in the middle of a line; what does not divide evenly goes to its right.
std::string Line(const std::string& title, char fill) {
  const int left = (kColumns - static_cast<int>(title.size())) / 2;
  const int right = kColumns - static_cast<int>(title.size()) - left;
  return absl::StrCat(std::string(left, fill), title, std::string(right, fill), "\n");
}

std::string Count(const std::string& label, uint64_t value) {
  return absl::StrFormat("%-40s %-10d\n", label, value);
}

std::string Number(const std::string& label, double value) {
  return absl::StrFormat("%-40s %-10.2f\n", label, value);
}

std::string Requests(const RunDescription& run, const RunFigures& figures) {
  std::string text = Count("Successful requests:", figures.completed);
  text += Count("Failed requests:", figures.failed);
  if (run.traffic.max_concurrency) {
    text += Count("Maximum request concurrency:", *run.traffic.max_concurrency);
  }
  if (std::isfinite(run.traffic.request_rate)) {
    text += Number("Request rate configured (RPS):", run.traffic.request_rate);
  }
  return text + Number("Benchmark duration (s):", figures.duration) +
         Count("Total input tokens:", figures.input_tokens);
}

std::string GoodputLine(const RunDescription& run, const RunFigures& figures) {
  if (!run.goodput.asked()) return "";
  return Number("Request goodput (req/s):", figures.Rate(static_cast<double>(figures.good)));
}

std::string Generated(const RunDescription& run, const RunFigures& figures) {
  const auto output = static_cast<double>(figures.output_tokens);
  std::string text = Count("Total generated tokens:", figures.output_tokens);
  text +=
      Number("Request throughput (req/s):", figures.Rate(static_cast<double>(figures.completed)));
  text += GoodputLine(run, figures);
  text += Number("Output token throughput (tok/s):", figures.Rate(output));
  text += Number("Peak output token throughput (tok/s):",
                 static_cast<double>(figures.peak_output_tokens()));
  text += Number("Peak concurrent requests:", static_cast<double>(figures.most_at_once));
  return text;
}

std::string Scored(const RunDescription& run, const RunFigures& figures) {
  std::string text = Count("Total scored tokens:", figures.output_tokens);
  text +=
      Number("Request throughput (req/s):", figures.Rate(static_cast<double>(figures.completed)));
  text += GoodputLine(run, figures);
  text += Number("Item throughput (items/s):", figures.Rate(static_cast<double>(figures.items)));
  text += Number("Scored token throughput (tok/s):",
                 figures.Rate(static_cast<double>(figures.output_tokens)));
  text += Number("Peak concurrent requests:", static_cast<double>(figures.most_at_once));
  return text;
}

std::string LatencyText(const LatencyName& name, const Distribution& values) {
  std::string text = Line(name.title, '-');
  text += Number(absl::StrCat("Mean ", name.word, " (ms):"), values.mean);
  text += Number(absl::StrCat("Median ", name.word, " (ms):"), values.median);
  for (const auto& [percent, value] : values.percentiles) {
    text += Number(absl::StrCat("P", PercentWord(percent), " ", name.word, " (ms):"), value);
  }
  return text;
}

// Whether the run has such times at all.
bool Has(const RunDescription& run, Latency latency) {
  switch (latency) {
    case Latency::kTimeToFirstToken:
    case Latency::kTimePerOutputToken:
    case Latency::kInterToken:
      return !run.score;
    case Latency::kEndToEnd:
      return true;
    case Latency::kClientQueue:
      return run.traffic.max_concurrency.has_value();
    case Latency::kEndToEndWithQueue:
      return run.traffic.max_concurrency.has_value() && std::isfinite(run.traffic.request_rate);
  }
  return false;
}

std::string NotServed(const RunFigures& figures) {
  std::string text;
  for (const auto& [code, error] : figures.errors) {
    absl::StrAppend(&text, figures.codes.at(code), " not served: ", EscapeText(error), "\n");
  }
  if (figures.unfinished > 0) absl::StrAppend(&text, figures.unfinished, " not made to the end\n");
  if (figures.retries > 0) absl::StrAppend(&text, figures.retries, " sent again\n");
  if (figures.cached_input_tokens > 0) {
    absl::StrAppend(&text, figures.cached_input_tokens, " of ", figures.input_tokens,
                    " prompt tokens came from the cache\n");
  }
  return text;
}

void AddTraffic(const Traffic& traffic, Json& json) {
  if (std::isfinite(traffic.request_rate)) {
    json["request_rate"] = traffic.request_rate;
  } else {
    json["request_rate"] = "inf";
  }
  json["burstiness"] = traffic.burstiness;
  json["max_concurrency"] = nullptr;
  if (traffic.max_concurrency) json["max_concurrency"] = *traffic.max_concurrency;
  if (!traffic.ramp_up) return;
  json["ramp_up_strategy"] = traffic.ramp_up->exponential ? "exponential" : "linear";
  json["ramp_up_start_rps"] = traffic.ramp_up->start_rps;
  json["ramp_up_end_rps"] = traffic.ramp_up->end_rps;
}

void AddFigures(const RunDescription& run, const RunFigures& figures, Json& json) {
  const auto output = static_cast<double>(figures.output_tokens);
  json["duration"] = figures.duration;
  json["completed"] = figures.completed;
  json["failed"] = figures.failed;
  json["total_input_tokens"] = figures.input_tokens;
  json["total_output_tokens"] = figures.output_tokens;
  json["request_throughput"] = figures.Rate(static_cast<double>(figures.completed));
  json["request_goodput"] = nullptr;
  if (run.goodput.asked()) {
    json["request_goodput"] = figures.Rate(static_cast<double>(figures.good));
  }
  json["output_throughput"] = figures.Rate(output);
  json["total_token_throughput"] = figures.Rate(static_cast<double>(figures.input_tokens) + output);
  json["max_output_tokens_per_s"] = static_cast<double>(figures.peak_output_tokens());
  json["max_concurrent_requests"] = figures.most_at_once;
  if (run.score) {
    json["items"] = figures.items;
    json["item_throughput"] = figures.Rate(static_cast<double>(figures.items));
    json["scored_token_throughput"] = figures.Rate(output);
  }
  json["codes"] = figures.codes;
  json["retries"] = figures.retries;
  json["unfinished"] = figures.unfinished;
  json["cached_prompt_tokens"] = figures.cached_input_tokens;
  json["output_tokens_by_second"] = figures.tokens_by_second;
}

void AddLatencies(const RunDescription& run, const RunFigures& figures, Json& json) {
  for (const LatencyName& name : LatencyNames()) {
    if (!Has(run, name.latency)) continue;
    const Distribution& values = figures.latencies.at(name.latency);
    json[absl::StrCat("mean_", name.key, "_ms")] = values.mean;
    json[absl::StrCat("median_", name.key, "_ms")] = values.median;
    json[absl::StrCat("std_", name.key, "_ms")] = values.deviation;
    for (const auto& [percent, value] : values.percentiles) {
      json[absl::StrCat("p", PercentWord(percent), "_", name.key, "_ms")] = value;
    }
  }
}

// A list with a value for each call.
template <typename Value>
Json ForEach(const RunRecords& records, const Value& value) {
  Json list = Json::array();
  for (const CallRecord& call : records.calls) list.push_back(value(call));
  return list;
}

// What was not served has no times.
Json Seconds(const RunRecords& records, absl::Duration (CallRecord::*time)() const) {
  return ForEach(records, [time](const CallRecord& call) {
    return call.status.ok() ? Json(absl::ToDoubleSeconds((call.*time)())) : Json(nullptr);
  });
}

void AddCalls(const RunRecords& records, Json& json) {
  json["input_lens"] = ForEach(records, [](const auto& call) { return call.prompt_tokens; });
  json["output_lens"] = ForEach(records, [](const auto& call) { return call.output_tokens; });
  json["ttfts"] = Seconds(records, &CallRecord::time_to_first_token);
  json["latencies"] = Seconds(records, &CallRecord::latency);
  json["queue_times"] = Seconds(records, &CallRecord::queued);
  json["start_times"] =
      ForEach(records, [](const auto& call) { return absl::ToDoubleSeconds(call.sent); });
  json["errors"] =
      ForEach(records, [](const auto& call) { return std::string(call.status.message()); });
}

Json Gaps(const CallRecord& call) {
  Json gaps = Json::array();
  for (size_t i = 1; i < call.arrived.size(); ++i) {
    gaps.push_back(static_cast<double>(call.arrived[i].seconds));
  }
  return gaps;
}

}  // namespace

std::string PercentWord(double percent) { return absl::StrCat(percent); }

std::string RunText(const RunDescription& run, const RunFigures& figures) {
  std::string text = Line(" Serving Benchmark Result ", '=');
  text += Requests(run, figures);
  text += run.score ? Scored(run, figures) : Generated(run, figures);
  text += Number("Total token throughput (tok/s):",
                 figures.Rate(static_cast<double>(figures.input_tokens + figures.output_tokens)));
  for (const LatencyName& name : LatencyNames()) {
    if (run.shown.count(name.latency) == 0 || !Has(run, name.latency)) continue;
    text += LatencyText(name, figures.latencies.at(name.latency));
  }
  return text + Line("", '=') + NotServed(figures);
}

Json RunJson(const RunDescription& run, const RunFigures& figures, const RunRecords& records,
             bool detail) {
  Json json = {{"date", run.date},
               {"endpoint_type", "peerage"},
               {"backend", "peerage"},
               {"label", nullptr},
               {"model_id", run.model},
               {"tokenizer_id", run.model},
               {"num_prompts", run.num_prompts}};
  if (!run.label.empty()) json["label"] = run.label;
  json["mode"] = run.score ? "score" : "generate";
  json["seed"] = run.seed;
  json["server_version"] = run.server_version;
  json["model_fingerprint"] = run.fingerprint;
  AddTraffic(run.traffic, json);
  AddFigures(run, figures, json);
  AddLatencies(run, figures, json);
  AddCalls(records, json);
  if (!detail) return json;
  json["itls"] = ForEach(records, Gaps);
  json["generated_texts"] = ForEach(records, [](const auto& call) { return call.text; });
  return json;
}

}  // namespace peerage::client
