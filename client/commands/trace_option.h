#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// The flag that asks for the experts a call uses.
class TraceOption {
 public:
  explicit TraceOption(CLI::App& app) {
    app.add_option("--trace", level_,
                   "Print which experts were used: summary or, with --json, also full")
        ->check(CLI::IsMember({"summary", "full"}));
  }

  // Unspecified when the flag was not given.
  v1::ExpertTraceLevel level() const {
    if (level_.empty()) return v1::EXPERT_TRACE_LEVEL_UNSPECIFIED;
    return level_ == "full" ? v1::EXPERT_TRACE_LEVEL_FULL : v1::EXPERT_TRACE_LEVEL_SUMMARY;
  }

 private:
  std::string level_;
};

}  // namespace peerage::client
