#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/listen_address.h"

namespace peerage {

// The project's version, set once in the root CMakeLists.txt.
inline constexpr char kVersion[] = PEERAGE_VERSION;

// Everything that can be chosen when the server starts. Each field is the option of the same name;
// docs and ranges: server/config_options.cc.
struct ServerConfig {
  std::string model;       // a .gguf file or a model directory
  std::string model_name;  // [A-Za-z0-9._-]; default: from `model`
  ListenAddress listen{"127.0.0.1", 50051};
  std::string listen_mode = "600";  // of a Unix socket: three octal digits
  ListenAddress admin_listen{"127.0.0.1", 9091};
  std::string device = "auto";            // "auto", "cpu" or "cuda:0,cuda:1,..."
  int workers = 1;                        // on the CPU; else one a device
  int threads = 0;                        // default: the CPUs of the affinity mask
  std::string weights_dtype = "auto";     // "auto", "f32", "bf16", "q8_0" or "q4_1"
  std::string expert_dtype = "auto";      // "auto", "f32", "bf16", "int8", "int4" or "fp8"
  std::string activation_dtype = "auto";  // "auto", "bf16" or "f32"
  std::string kv_dtype = "auto";          // "auto", "bf16" or "f32"
  bool cuda_batch_invariant = false;
  int32_t max_batch_tokens = 512;
  int32_t max_sequences = 64;
  int32_t max_queued_requests = 256;
  int32_t max_queued_tokens = 4'000'000;
  int32_t max_request_mib = 4;
  absl::Duration min_ping_interval = absl::Seconds(10);
  std::string door = "on";  // "on" or "off"
  int32_t max_connections = 1024;
  int32_t max_connections_per_peer = 256;
  int32_t max_new_connections = 500;  // a second
  std::string trusted_proxies;        // AddressRanges, or none
  int32_t max_calls = 2048;
  absl::Duration slow_reader_timeout = absl::Minutes(1);
  int32_t max_unsent_mib = 256;
  std::string tls_cert;  // files of PEM, or none
  std::string tls_key;
  std::string tls_client_ca;
  bool insecure = false;
  std::string token_file;  // or none
  std::string policy_file;
  std::optional<int64_t> kv_cache_mib;      // default: server/memory_plan.h
  std::string prefix_cache = "on";          // "on" or "off"
  std::string admission = "reserve";        // "reserve" or "optimistic"
  std::string expert_usage = "recent";      // "off", "total" or "recent"
  std::string expert_metrics = "standard";  // "off", "basic", "standard" or "full"
  std::string expert_baseline;              // an .npy file, or none
  std::string expert_trace = "summary";     // "none", "summary" or "full"
  int32_t max_trace_mib = 3;
  absl::Duration drain_timeout = absl::Seconds(30);
  absl::Duration step_timeout = absl::Minutes(2);
  std::string log_format = "text";  // "text" or "json"
  std::string log_level = "info";   // "debug", "info", "warn", "error" or "off"
  bool log_content = false;
  int32_t log_rate = 100;  // lines of a kind in a second
};

using Environment = std::map<std::string, std::string>;

struct CommandLine {
  ServerConfig config;
  // Set by --help and --version: to be printed instead of serving; `config` is then incomplete.
  std::optional<std::string> print;
  bool print_config = false;  // instead of serving
  bool check_config = false;  // likewise
  // PEERAGE_ variables that name no option: worth a warning, but no error, since orchestrators
  // define such names too (Kubernetes: PEERAGE_SERVICE_HOST for a Service called "peerage").
  std::vector<std::string> unknown_variables;
};

// Resolves the configuration: a flag beats its environment variable (PEERAGE_MAX_SEQUENCES for
// --max-sequences), which beats the key in the TOML file that --config names; what is left gets its
// default. Errors are INVALID_ARGUMENT, one line that names the option as it was written.
// `arguments` are without the program's name.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const Environment& environment);

// The configuration as a TOML file that resolves to the same configuration.
std::string PrintConfig(const ServerConfig& config);

// The process's own environment.
Environment ProcessEnvironment();

}  // namespace peerage
