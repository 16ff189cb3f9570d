#include "model/transform/inspect/inspection_report.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/number_text.h"

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
                      config.max_positions, "\n", SizesText(inspection), "\nparts\n",
                      PartsText(inspection),
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
  return {{"architecture", inspection.config.architecture},
          {"layers", std::move(layers)},
          {"total_parameters", inspection.plan.Parameters()},
          {"active_parameters", inspection.plan.ActiveParameters()},
          {"parameters_by_part", std::move(parameters)},
          {"bytes_by_part", std::move(bytes)},
          {"kv_bytes_per_token", inspection.kv_bytes_per_token},
          {"context", inspection.context},
          {"flops_per_token", std::move(flops)}};
}

}  // namespace peerage::transform
