#include "model/transform/inspect/inspection_report.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/number_text.h"
#include "model/config/choices.h"
#include "model/transform/inspect/tokenizer_report.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

constexpr auto kText = [](const auto& part) { return part.Text(); };
constexpr auto kFields = [](const auto& part) { return part.Fields(); };

// The exact number, and the one that people compare.
std::string CountText(absl::string_view what, uint64_t count) {
  return absl::StrFormat("%-19s %15s %8s", what, FormatWhole(count), FormatCount(count));
}

std::string BytesText(uint64_t bytes) {
  return absl::StrFormat("%15s bytes %10s", FormatWhole(bytes), FormatBytes(bytes));
}

std::string SizesText(const Inspection& inspection) {
  std::string text =
      absl::StrCat(CountText("parameters", inspection.plan.Parameters()), "\n",
                   CountText("active for a token", inspection.plan.ActiveParameters()), "\n");
  if (inspection.has_weights) {
    uint64_t bytes = 0;
    for (const PartSize& part : inspection.parts) bytes += part.bytes;
    absl::StrAppend(&text, absl::StrFormat("%-19s ", "stored weights"), BytesText(bytes), "\n");
  }
  return absl::StrCat(text, absl::StrFormat("%-19s ", "KV per token"),
                      BytesText(inspection.kv_bytes_per_token), " (f32)\n");
}

std::string FunctionLine(absl::string_view what, absl::string_view text) {
  return absl::StrFormat("  %-17s %s\n", what, text);
}

std::string RopeText(const ModelConfig& config) {
  const int half = config.head_dim / 2;
  return absl::StrCat(
      "base ", config.rope_theta, ", over all ", config.head_dim, " dimensions of a head, pairs ",
      config.rope_interleaved ? "(2i, 2i + 1)" : absl::StrCat("(i, i + ", half, ")"),
      ", not scaled");
}

std::string DtypesText(const std::vector<DtypeSize>& dtypes) {
  return absl::StrJoin(dtypes, ", ", [](std::string* text, const DtypeSize& size) {
    absl::StrAppend(text, size.tensors, size.tensors == 1 ? " tensor of " : " tensors of ",
                    size.dtype, " (", FormatBytes(size.bytes), ")");
  });
}

// What a layer's config does not say and yet changes what is computed.
std::string FunctionText(const Inspection& inspection) {
  const ModelConfig& config = inspection.config;
  std::string text = absl::StrCat(
      FunctionLine("norm", absl::StrCat(ChoiceName(kNormTypes, config.norm_type), ", eps ",
                                        config.norm_eps)),
      FunctionLine("rope", RopeText(config)),
      FunctionLine("activation", ChoiceName(kActivations, config.activation)),
      FunctionLine("block", config.parallel_block ? "parallel" : "sequential"),
      FunctionLine("head", config.tied_embeddings ? "tied to the embedding" : "of its own"));
  if (!inspection.has_weights) return text;
  return absl::StrCat(text, FunctionLine("stored", DtypesText(inspection.dtypes)));
}

ordered_json DtypesJson(const std::vector<DtypeSize>& dtypes) {
  ordered_json list = ordered_json::array();
  for (const DtypeSize& size : dtypes) {
    list.push_back({{"dtype", size.dtype}, {"tensors", size.tensors}, {"bytes", size.bytes}});
  }
  return list;
}

// Numbers and flags as such, whatever else as text.
ordered_json DefaultsJson(const ModelConfig& config) {
  ordered_json defaults = ordered_json::object();
  for (const auto& [key, value] : config.defaults) {
    ordered_json scalar = ordered_json::parse(value, nullptr, /*allow_exceptions=*/false);
    defaults[key] = scalar.is_primitive() && !scalar.is_discarded() ? scalar : ordered_json(value);
  }
  return defaults;
}

ordered_json FunctionJson(const Inspection& inspection) {
  const ModelConfig& config = inspection.config;
  return {
      {"architecture", config.architecture},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"num_attention_heads", config.num_heads},
      {"num_key_value_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"max_position_embeddings", config.max_positions},
      {"norm_type", std::string(ChoiceName(kNormTypes, config.norm_type))},
      {"norm_eps", ShortestDecimal(config.norm_eps)},
      {"rope_theta", ShortestDecimal(config.rope_theta)},
      {"rope_interleaved", config.rope_interleaved},
      {"rope_scaling", nullptr},
      {"hidden_act", std::string(ChoiceName(kActivations, config.activation))},
      {"parallel_block", config.parallel_block},
      {"tie_word_embeddings", config.tied_embeddings},
      {"stored_dtypes", inspection.has_weights ? DtypesJson(inspection.dtypes) : ordered_json()},
      {"tokenizer",
       inspection.tokenizer == nullptr ? ordered_json() : TokenizerJson(*inspection.tokenizer)},
      {"defaults", DefaultsJson(config)}};
}

std::string DefaultsText(const ModelConfig& config) {
  if (config.defaults.empty()) return "";
  std::string text = "\ndefaults, for what the config leaves open\n";
  for (const auto& [key, value] : config.defaults) {
    absl::StrAppend(&text, "  ", key, " = ", value, "\n");
  }
  return text;
}

std::string PartsText(const Inspection& inspection) {
  std::string text;
  for (const PartSize& part : inspection.parts) {
    absl::StrAppend(&text, CountText(absl::StrCat("  ", part.part), part.parameters));
    if (inspection.has_weights) absl::StrAppend(&text, " ", BytesText(part.bytes));
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string LayersText(const Inspection& inspection) {
  const std::vector<LayerConfig>& layers = inspection.config.layers;
  std::string text;
  for (size_t first = 0, end; first < layers.size(); first = end) {
    for (end = first + 1; end < layers.size() && layers[end] == layers[first];) ++end;
    const std::string range =
        end == first + 1 ? absl::StrCat(first) : absl::StrCat(first, "-", end - 1);
    const nn::BlockPlan& block = inspection.plan.blocks[first];
    absl::StrAppend(&text, CountText(absl::StrCat("  ", range), block.Flops(inspection.context)),
                    "\n    attention  ", std::visit(kText, block.attention), "\n");
    for (const nn::FeedForwardPlan& ffn : block.ffn) {
      absl::StrAppend(&text, "    ffn        ", std::visit(kText, ffn), "\n");
    }
  }
  return text;
}

}  // namespace

std::string InspectionText(const Inspection& inspection) {
  const ModelConfig& config = inspection.config;
  return absl::StrCat(config.architecture, ", ", config.layers.size(), " layers, hidden size ",
                      config.hidden_size, ", vocabulary ", config.vocab_size, ", context ",
                      config.max_positions, "\n", SizesText(inspection), "\nfunction\n",
                      FunctionText(inspection),
                      inspection.tokenizer == nullptr
                          ? ""
                          : absl::StrCat("\ntokenizer\n", TokenizerText(*inspection.tokenizer)),
                      DefaultsText(config), "\nparts\n", PartsText(inspection),
                      "\nlayers, with the FLOPs of each for one token after ", inspection.context,
                      "\n", LayersText(inspection));
}

ordered_json InspectionJson(const Inspection& inspection) {
  ordered_json layers = ordered_json::array();
  ordered_json flops = ordered_json::array();
  for (const nn::BlockPlan& block : inspection.plan.blocks) {
    ordered_json ffn = ordered_json::array();
    for (const nn::FeedForwardPlan& part : block.ffn) ffn.push_back(std::visit(kFields, part));
    layers.push_back(
        {{"attention", std::visit(kFields, block.attention)}, {"ffn", std::move(ffn)}});
    flops.push_back(block.Flops(inspection.context));
  }
  ordered_json parameters, bytes;
  for (const PartSize& part : inspection.parts) {
    parameters[part.part] = part.parameters;
    if (inspection.has_weights) bytes[part.part] = part.bytes;
  }
  ordered_json report = FunctionJson(inspection);
  report.update({{"layers", std::move(layers)},
                 {"total_parameters", inspection.plan.Parameters()},
                 {"active_parameters", inspection.plan.ActiveParameters()},
                 {"parameters_by_part", std::move(parameters)},
                 {"bytes_by_part", std::move(bytes)},
                 {"kv_bytes_per_token", inspection.kv_bytes_per_token},
                 {"context", inspection.context},
                 {"flops_per_token", std::move(flops)}});
  return report;
}

}  // namespace peerage::transform
