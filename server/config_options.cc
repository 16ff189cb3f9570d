#include "server/config_options.h"

#include <cmath>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "server/address_ranges.h"
#include "server/config_file.h"
#include "server/engine/admission_policy.h"
#include "server/engine/expert_trace.h"
#include "server/experts/expert_statistics.h"
#include "server/log/log_line.h"

namespace peerage {
namespace {

constexpr absl::string_view kOnOff[] = {"on", "off"};

absl::Status SetText(absl::string_view value, std::string* field) {
  if (value.empty()) return absl::InvalidArgumentError("must not be empty");
  *field = std::string(value);
  return absl::OkStatus();
}

// Empty: none.
absl::Status SetFile(absl::string_view value, std::string* field) {
  *field = std::string(value);
  return absl::OkStatus();
}

absl::Status SetModelName(absl::string_view value, ServerConfig* config) {
  const bool allowed = value.find_first_not_of(
                           "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                           "0123456789._-") == absl::string_view::npos;
  if (value.empty() || value.size() > 128 || !allowed) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be 1 to 128 of [A-Za-z0-9._-], got '", value, "'"));
  }
  config->model_name = std::string(value);
  return absl::OkStatus();
}

absl::Status SetAddress(absl::string_view value, ListenAddress* field) {
  ASSIGN_OR_RETURN(*field, ParseListenAddress(value));
  return absl::OkStatus();
}

absl::Status SetAdminAddress(absl::string_view value, ListenAddress* field) {
  ListenAddress address;
  RETURN_IF_ERROR(SetAddress(value, &address));
  if (address.is_unix()) return absl::InvalidArgumentError("must be HOST:PORT: it is for browsers");
  *field = address;
  return absl::OkStatus();
}

absl::Status SetRanges(absl::string_view value, std::string* field) {
  RETURN_IF_ERROR(AddressRanges::Parse(value).status());
  *field = std::string(value);
  return absl::OkStatus();
}

// Of a file: three octal digits.
absl::Status SetMode(absl::string_view value, std::string* field) {
  const bool octal = value.find_first_not_of("01234567") == absl::string_view::npos;
  if (value.size() != 3 || !octal) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be three octal digits such as 660, got '", value, "'"));
  }
  return SetText(value, field);
}

absl::Status SetOneOf(absl::string_view value, absl::Span<const absl::string_view> names,
                      std::string* field) {
  if (absl::c_linear_search(names, value)) return SetText(value, field);
  return absl::InvalidArgumentError(
      absl::StrCat("must be one of ", absl::StrJoin(names, ", "), ", got '", value, "'"));
}

template <typename T, size_t kCount>
absl::Status SetOneOf(absl::string_view value, const Choice<T> (&choices)[kCount],
                      std::string* field) {
  std::vector<absl::string_view> names;
  for (const Choice<T>& choice : choices) names.push_back(choice.name);
  return SetOneOf(value, absl::MakeConstSpan(names), field);
}

absl::Status SetSwitch(absl::string_view value, bool* field) {
  constexpr Choice<bool> kValues[] = {{"true", true}, {"false", false}};
  const std::optional<bool> found = FindChoice(kValues, value);
  if (!found.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be ", ChoiceNames(kValues), ", got '", value, "'"));
  }
  *field = *found;
  return absl::OkStatus();
}

bool IsCudaDevice(absl::string_view device) {
  int index = 0;
  return absl::ConsumePrefix(&device, "cuda:") && !device.empty() && device.size() <= 3 &&
         device.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(device, &index);
}

absl::Status SetDevice(absl::string_view value, ServerConfig* config) {
  if (value != "auto" && value != "cpu") {
    for (absl::string_view device : absl::StrSplit(value, ',')) {
      if (IsCudaDevice(device)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("must be auto, cpu or cuda:N[,cuda:N...], got '", value, "'"));
    }
  }
  config->device = std::string(value);
  return absl::OkStatus();
}

struct Range {
  int64_t low;
  int64_t high;
};

absl::StatusOr<int64_t> ParseInteger(absl::string_view value, Range range) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < range.low || number > range.high) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be an integer in ", range.low, "..", range.high, ", got '", value, "'"));
  }
  return number;
}

absl::Status SetCount(absl::string_view value, Range range, int32_t* field) {
  ASSIGN_OR_RETURN(const int64_t number, ParseInteger(value, range));
  *field = static_cast<int32_t>(number);
  return absl::OkStatus();
}

absl::Status SetKvCacheMib(absl::string_view value, ServerConfig* config) {
  config->kv_cache_mib.reset();
  if (value == "auto") return absl::OkStatus();
  ASSIGN_OR_RETURN(config->kv_cache_mib, ParseInteger(value, {1, int64_t{1} << 24}));
  return absl::OkStatus();
}

absl::Status SetDuration(absl::string_view value, absl::Duration least, absl::Duration* field) {
  absl::Duration duration;
  double seconds = 0;
  const bool parsed = absl::SimpleAtod(value, &seconds)
                          ? std::isfinite(seconds) && (duration = absl::Seconds(seconds), true)
                          : absl::ParseDuration(value, &duration);
  if (!parsed || duration < least || duration > absl::Hours(24)) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be seconds or a duration like 500ms or 30s, ",
                     absl::FormatDuration(least), " to 24h, got '", value, "'"));
  }
  *field = duration;
  return absl::OkStatus();
}

constexpr ConfigOption kOptions[] = {
    {"model", "PATH", "A .gguf file or a model directory (required)", "",
     [](absl::string_view value, ServerConfig* config) { return SetText(value, &config->model); },
     [](const ServerConfig& config) { return QuoteToml(config.model); }},
    {"model-name", "NAME", "What clients call the model", "the base name of --model without .gguf",
     SetModelName, [](const ServerConfig& config) { return QuoteToml(config.model_name); }},
    {"listen", "ADDRESS", "HOST:PORT of gRPC, 0: any, or unix:PATH", "127.0.0.1:50051",
     [](absl::string_view value, ServerConfig* config) {
       return SetAddress(value, &config->listen);
     },
     [](const ServerConfig& config) { return QuoteToml(config.listen.ToString()); }},
    {"listen-mode", "MODE", "Who may connect to a Unix socket of --listen: its file's mode", "600",
     [](absl::string_view value, ServerConfig* config) {
       return SetMode(value, &config->listen_mode);
     },
     [](const ServerConfig& config) { return QuoteToml(config.listen_mode); }},
    {"admin-listen", "ADDRESS", "HOST:PORT of probes, /metrics and pages, by HTTP",
     "127.0.0.1:9091",
     [](absl::string_view value, ServerConfig* config) {
       return SetAdminAddress(value, &config->admin_listen);
     },
     [](const ServerConfig& config) { return QuoteToml(config.admin_listen.ToString()); }},
    {"device", "DEVICE",
     "auto, cpu or cuda:N[,cuda:N...], each with a worker; auto takes the first CUDA device where "
     "the build has CUDA and there is one",
     "auto", SetDevice, [](const ServerConfig& config) { return QuoteToml(config.device); }},
    {"workers", "N",
     "Models that compute side by side on the CPU, with the same weights; threads and KV cache are "
     "divided",
     "1",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 64}, &config->workers);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.workers); }},
    {"threads", "N", "Threads that compute", "the CPUs this process may use",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1024}, &config->threads);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.threads); }},
    {"weights-dtype", "TYPE", "auto, f32, bf16, q8_0 or q4_1; auto keeps the file's", "auto",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kWeightsDtypes, &config->weights_dtype);
     },
     [](const ServerConfig& config) { return QuoteToml(config.weights_dtype); }},
    {"expert-dtype", "TYPE",
     "Tables of PEER and PKM: auto, f32, bf16, int8, int4 or fp8 (e4m3); auto follows an explicit "
     "f32 or bf16 of --weights-dtype, else the file",
     "auto",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kExpertDtypes, &config->expert_dtype);
     },
     [](const ServerConfig& config) { return QuoteToml(config.expert_dtype); }},
    {"activation-dtype", "TYPE",
     "What layers read on CUDA devices: auto (bf16), bf16 or f32; the CPU has f32", "auto",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kActivationDtypes, &config->activation_dtype);
     },
     [](const ServerConfig& config) { return QuoteToml(config.activation_dtype); }},
    {"kv-dtype", "TYPE",
     "Keys and values on CUDA devices: auto (bf16), bf16 or f32; the CPU has f32", "auto",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kKvDtypes, &config->kv_dtype);
     },
     [](const ServerConfig& config) { return QuoteToml(config.kv_dtype); }},
    {"cuda-batch-invariant", "BOOL",
     "Answers have the same bits whatever else runs, on CUDA devices as always on the CPU, at the "
     "price of slower prompts: no cuBLASLt",
     "false",
     [](absl::string_view value, ServerConfig* config) {
       return SetSwitch(value, &config->cuda_batch_invariant);
     },
     [](const ServerConfig& config) {
       return std::string(config.cuda_batch_invariant ? "true" : "false");
     },
     /*is_switch=*/true},
    {"max-batch-tokens", "N", "Tokens computed in one step, over all sequences", "512",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 65536}, &config->max_batch_tokens);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_batch_tokens); }},
    {"max-sequences", "N", "Sequences that a worker computes at the same time", "64",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 4096}, &config->max_sequences);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_sequences); }},
    {"max-queued-requests", "N",
     "Requests that may wait; beyond, those of tenants with less than their part", "256",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1000000}, &config->max_queued_requests);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_queued_requests); }},
    {"max-queued-tokens", "N",
     "Tokens of requests that may wait; beyond, those of tenants with less than their part",
     "4000000",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1000000000}, &config->max_queued_tokens);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_queued_tokens); }},
    {"max-request-mib", "MIB", "Largest message of a request; larger ones are refused", "4",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 256}, &config->max_request_mib);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_request_mib); }},
    {"min-ping-interval", "DURATION",
     "How often a connection may be pinged without data; who pings faster is disconnected; 0: no "
     "limit",
     "10s",
     [](absl::string_view value, ServerConfig* config) {
       return SetDuration(value, absl::ZeroDuration(), &config->min_ping_interval);
     },
     [](const ServerConfig& config) {
       return QuoteToml(absl::FormatDuration(config.min_ping_interval));
     }},
    {"slow-reader-timeout", "DURATION",
     "How long a call waits for a client that does not take its answer, less what it has waited "
     "before, more as the client goes on",
     "1m",
     [](absl::string_view value, ServerConfig* config) {
       return SetDuration(value, absl::Milliseconds(1), &config->slow_reader_timeout);
     },
     [](const ServerConfig& config) {
       return QuoteToml(absl::FormatDuration(config.slow_reader_timeout));
     }},
    {"max-unsent-mib", "MIB",
     "Answers that clients have not taken, of all calls; at half of it the slowest readers' calls "
     "are ended, beyond it requests are refused",
     "256",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1000000}, &config->max_unsent_mib);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_unsent_mib); }},
    {"kv-cache-mib", "MIB",
     "Memory of the KV cache, or auto: what max-sequences full contexts need, at most a quarter of "
     "the available memory, or nine tenths of what is left on a CUDA device",
     "auto", SetKvCacheMib,
     [](const ServerConfig& config) {
       return config.kv_cache_mib ? absl::StrCat(*config.kv_cache_mib) : QuoteToml("auto");
     }},
    {"door", "on|off",
     "Whether connections come in by a door that keeps hostile ones away; off behind a proxy that "
     "does so",
     "on",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kOnOff, &config->door);
     },
     [](const ServerConfig& config) { return QuoteToml(config.door); }},
    {"max-connections", "N",
     "Connections at the same time; more wait for the places of idle ones, or are refused", "1024",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1'000'000}, &config->max_connections);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_connections); }},
    {"max-connections-per-peer", "N", "Of one address, or IPv6 network of 64 bits", "256",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1'000'000}, &config->max_connections_per_peer);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_connections_per_peer); }},
    {"max-new-connections", "N",
     "Connections that may begin in a second, a fifth of them of one peer; for a moment, four and "
     "five times as many",
     "500",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1'000'000}, &config->max_new_connections);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_new_connections); }},
    {"trusted-proxies", "ADDRESSES",
     "Through whom many come: addresses, networks (10.0.0.0/8) or unix, with commas; each of their "
     "connections counts as a peer",
     "",
     [](absl::string_view value, ServerConfig* config) {
       return SetRanges(value, &config->trusted_proxies);
     },
     [](const ServerConfig& config) { return QuoteToml(config.trusted_proxies); }},
    {"max-calls", "N", "Calls at the same time, of all kinds; more are turned away", "2048",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1'000'000}, &config->max_calls);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_calls); }},
    {"tls-cert", "FILE",
     "The server's certificate and its chain, PEM: gRPC is then spoken over TLS only", "",
     [](absl::string_view value, ServerConfig* config) {
       return SetFile(value, &config->tls_cert);
     },
     [](const ServerConfig& config) { return QuoteToml(config.tls_cert); }},
    {"tls-key", "FILE", "The private key of --tls-cert, PEM", "",
     [](absl::string_view value, ServerConfig* config) { return SetFile(value, &config->tls_key); },
     [](const ServerConfig& config) { return QuoteToml(config.tls_key); }},
    {"tls-client-ca", "FILE",
     "Certificates that clients' certificates must lead to, PEM: nobody connects without one", "",
     [](absl::string_view value, ServerConfig* config) {
       return SetFile(value, &config->tls_client_ca);
     },
     [](const ServerConfig& config) { return QuoteToml(config.tls_client_ca); }},
    {"insecure", "BOOL", "Listen beyond this machine without TLS", "false",
     [](absl::string_view value, ServerConfig* config) {
       return SetSwitch(value, &config->insecure);
     },
     [](const ServerConfig& config) { return std::string(config.insecure ? "true" : "false"); },
     /*is_switch=*/true},
    {"token-file", "FILE", "Who may call by a bearer token: lines of NAME SHA256 [EXPIRY]", "",
     [](absl::string_view value, ServerConfig* config) {
       return SetFile(value, &config->token_file);
     },
     [](const ServerConfig& config) { return QuoteToml(config.token_file); }},
    {"policy-file", "FILE", "Who may do what, JSON", "",
     [](absl::string_view value, ServerConfig* config) {
       return SetFile(value, &config->policy_file);
     },
     [](const ServerConfig& config) { return QuoteToml(config.policy_file); }},
    {"prefix-cache", "on|off",
     "Whether computed blocks of the KV cache are kept for requests that begin alike", "on",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kOnOff, &config->prefix_cache);
     },
     [](const ServerConfig& config) { return QuoteToml(config.prefix_cache); }},
    {"admission", "POLICY",
     "When a request starts: reserve (the KV cache has what it may need) or optimistic (what it is "
     "expected to need; requests may be put back and computed anew)",
     "reserve",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kAdmissions, &config->admission);
     },
     [](const ServerConfig& config) { return QuoteToml(config.admission); }},
    {"expert-usage", "MODE",
     "Which windows of expert usage are counted: off, total (since start or reset) or recent (that "
     "and the last 5 minutes)",
     "recent",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kExpertUsageModes, &config->expert_usage);
     },
     [](const ServerConfig& config) { return QuoteToml(config.expert_usage); }},
    {"expert-metrics", "LEVEL",
     "How many series /metrics has of experts: off, basic, standard or full; none without "
     "--expert-usage",
     "standard",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kExpertMetricsLevels, &config->expert_metrics);
     },
     [](const ServerConfig& config) { return QuoteToml(config.expert_metrics); }},
    {"expert-baseline", "FILE",
     "Usage that /metrics measures drift against, as `peerage experts --npy FILE` writes it", "",
     [](absl::string_view value, ServerConfig* config) {
       return SetFile(value, &config->expert_baseline);
     },
     [](const ServerConfig& config) { return QuoteToml(config.expert_baseline); }},
    {"expert-trace", "LEVEL",
     "The most that a request may ask of the experts it uses: none, summary or full", "summary",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kExpertTraceLevels, &config->expert_trace);
     },
     [](const ServerConfig& config) { return QuoteToml(config.expert_trace); }},
    {"max-trace-mib", "MIB",
     "Most that one request may get of full traces and hidden states, 1 to 3: an answer holds 4 "
     "MiB",
     "3",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 3}, &config->max_trace_mib);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.max_trace_mib); }},
    {"drain-timeout", "DURATION", "How long running requests may go on after SIGTERM", "30s",
     [](absl::string_view value, ServerConfig* config) {
       return SetDuration(value, absl::ZeroDuration(), &config->drain_timeout);
     },
     [](const ServerConfig& config) {
       return QuoteToml(absl::FormatDuration(config.drain_timeout));
     }},
    {"step-timeout", "DURATION",
     "After how long without an end a step counts as hung: its requests end, and its worker gets "
     "another model; /healthz is 503 while the step lasts, and once that model loads for 10 times "
     "as long",
     "2m",
     [](absl::string_view value, ServerConfig* config) {
       return SetDuration(value, absl::Seconds(1), &config->step_timeout);
     },
     [](const ServerConfig& config) {
       return QuoteToml(absl::FormatDuration(config.step_timeout));
     }},
    {"log-format", "FORMAT", "What a line of the log is: text, or a json object", "text",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kLogFormats, &config->log_format);
     },
     [](const ServerConfig& config) { return QuoteToml(config.log_format); }},
    {"log-level", "LEVEL", "The least that is logged: debug, info, warn, error or off", "info",
     [](absl::string_view value, ServerConfig* config) {
       return SetOneOf(value, kLogLevels, &config->log_level);
     },
     [](const ServerConfig& config) { return QuoteToml(config.log_level); }},
    {"log-content", "BOOL",
     "Log prompts and what is generated, cut to 2 KiB; else no line has anything of them", "false",
     [](absl::string_view value, ServerConfig* config) {
       return SetSwitch(value, &config->log_content);
     },
     [](const ServerConfig& config) { return std::string(config.log_content ? "true" : "false"); },
     /*is_switch=*/true},
    {"log-rate", "LINES", "How many lines of a kind are logged in a second; the rest is counted",
     "100",
     [](absl::string_view value, ServerConfig* config) {
       return SetCount(value, {1, 1000000}, &config->log_rate);
     },
     [](const ServerConfig& config) { return absl::StrCat(config.log_rate); }},
};

}  // namespace

absl::Span<const ConfigOption> ConfigOptions() { return kOptions; }

}  // namespace peerage
