#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/choice.h"
#include "model/nn/load_model.h"
#include "server/config.h"

namespace peerage {

// What --weights-dtype and --expert-dtype may be.
inline constexpr Choice<nn::WeightsDtype> kWeightsDtypes[] = {{"auto", nn::WeightsDtype::kAuto},
                                                              {"f32", nn::WeightsDtype::kF32},
                                                              {"bf16", nn::WeightsDtype::kBF16},
                                                              {"q8_0", nn::WeightsDtype::kQ8_0},
                                                              {"q4_1", nn::WeightsDtype::kQ4_1}};
inline constexpr Choice<nn::ExpertDtype> kExpertDtypes[] = {
    {"auto", nn::ExpertDtype::kAuto}, {"f32", nn::ExpertDtype::kF32},
    {"bf16", nn::ExpertDtype::kBF16}, {"int8", nn::ExpertDtype::kInt8},
    {"int4", nn::ExpertDtype::kInt4}, {"fp8", nn::ExpertDtype::kFp8}};

// What --activation-dtype and --kv-dtype may be.
inline constexpr Choice<nn::ActivationDtype> kActivationDtypes[] = {
    {"auto", nn::ActivationDtype::kAuto},
    {"bf16", nn::ActivationDtype::kBF16},
    {"f32", nn::ActivationDtype::kF32}};
inline constexpr Choice<nn::KvDtype> kKvDtypes[] = {
    {"auto", nn::KvDtype::kAuto}, {"bf16", nn::KvDtype::kBF16}, {"f32", nn::KvDtype::kF32}};

// One option of the server under its three spellings: --max-sequences, PEERAGE_MAX_SEQUENCES and
// the TOML key max-sequences.
struct ConfigOption {
  absl::string_view name;
  absl::string_view value_name;  // in --help
  absl::string_view description;
  absl::string_view default_text;  // in --help; empty where there is none
  // Checks the range and stores the value; the error does not repeat the option's name.
  absl::Status (*set)(absl::string_view value, ServerConfig* config);
  std::string (*to_toml)(const ServerConfig& config);
  bool is_switch = false;  // the flag may stand alone: true
};

// All of them, in the order of --help and --print-config.
absl::Span<const ConfigOption> ConfigOptions();

}  // namespace peerage
