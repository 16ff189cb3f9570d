#include "train/training/source_model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/stored_model.h"
#include "model/nn/open_model.h"
#include "model/nn/plan/model_plan.h"
#include "model/tokenizer/tokenizer_file_names.h"
#include "model/transform/config_json.h"
#include "model/transform/tensor_values.h"
#include "model/transform/upcycle/random_values.h"

namespace peerage::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Tensors are written under our names, whatever the layer's were called where they were read.
void NameOurLayout(ordered_json& owner) {
  if (!owner.contains("ffn")) return;
  for (ordered_json& entry : owner["ffn"]) {
    if (entry.contains("layout")) entry["layout"] = "peerage";
  }
}

std::string WithOurLayout(const std::string& config_json) {
  ordered_json json = ordered_json::parse(config_json);
  NameOurLayout(json);
  if (json.contains("layers")) {
    for (ordered_json& layer : json["layers"]) NameOurLayout(layer);
  }
  return json.dump(2) + "\n";
}

// Of a model that came as `llama`, `mixtral` or GGUF: all layers are alike, with dense attention.
std::string PeerageConfigOf(const ModelConfig& config) {
  const nn::ModelPlan plan = nn::PlanModel(config);
  ModelConfig sizes = config;  // which only dense models have for a config.json
  if (const auto* mixture = std::get_if<MixtureFfnConfig>(&config.layers.front().ffn.front())) {
    for (LayerConfig& layer : sizes.layers) {
      layer.ffn = {DenseFfnConfig{mixture->intermediate_size}};
    }
  }
  ordered_json json = transform::PeerageConfigJson(sizes);
  json["attention"] = {{"kind", "dense"}};
  ordered_json ffn =
      std::visit([](const auto& part) { return part.Fields(); }, plan.blocks.front().ffn.front());
  if (ffn.contains("expert_names") && ffn["expert_names"].empty()) ffn.erase("expert_names");
  json["ffn"] = ordered_json::array({std::move(ffn)});
  return json.dump(2) + "\n";
}

// peer-pytorch's norm has an epsilon of its own, which only its layout says.
absl::Status CheckTrainable(const ModelConfig& config) {
  for (size_t i = 0; i < config.layers.size(); ++i) {
    for (const FfnConfig& part : config.layers[i].ffn) {
      const auto* peer = std::get_if<PeerConfig>(&part);
      if (peer == nullptr || peer->norm != PeerNorm::kL2) continue;
      return absl::UnimplementedError(
          absl::StrCat("layer ", i,
                       ": a PEER layer of layout \"lucidrains\" with pre_rmsnorm "
                       "cannot be written in our layout, and is not trained"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ConfigJsonOf(const std::string& path, const ModelConfig& config) {
  if (config.architecture != "peerage") return PeerageConfigOf(config);
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxModelConfigBytes));
  return WithOurLayout(text);
}

absl::StatusOr<SourceModel> OpenExisting(const std::string& path) {
  ASSIGN_OR_RETURN(nn::OpenedModel opened, nn::OpenModel(path, {}));
  SourceModel source{.config = opened.checkpoint->config()};
  RETURN_IF_ERROR(At(path, CheckTrainable(source.config)));
  ASSIGN_OR_RETURN(source.config_json,
                   ConfigJsonOf((fs::path(path) / kModelConfigName).string(), source.config));
  ASSIGN_OR_RETURN(source.tokenizer_files,
                   At(path, transform::TokenizerFiles(opened.checkpoint->tokenizer())));
  source.tokenizer = std::move(opened.tokenizer);
  source.checkpoint = std::move(opened.checkpoint);
  return source;
}

absl::StatusOr<SourceModel> MakeNew(const ModelSection& section) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(section.config, kMaxModelConfigBytes));
  SourceModel source{.seed = section.seed};
  ASSIGN_OR_RETURN(source.config, At(section.config, ParseModelConfig(text)));
  RETURN_IF_ERROR(At(section.config, CheckTrainable(source.config)));
  ASSIGN_OR_RETURN(source.config_json, ConfigJsonOf(section.config, source.config));
  TokenizerSource tokenizer{.config_bos_id = source.config.bos_id,
                            .config_eos_ids = source.config.eos_ids,
                            .vocab_size = source.config.vocab_size};
  ASSIGN_OR_RETURN(tokenizer.hugging_face, ReadTokenizerFiles(section.tokenizer));
  ASSIGN_OR_RETURN(source.tokenizer, At(section.tokenizer, Tokenizer::Load(tokenizer)));
  ASSIGN_OR_RETURN(source.tokenizer_files,
                   At(section.tokenizer, transform::TokenizerFiles(tokenizer)));
  return source;
}

absl::Status ReadValues(const Checkpoint& checkpoint, const TensorInfo& tensor,
                        absl::Span<float> values) {
  const int64_t row = transform::RowElements(tensor.shape), rows = tensor.shape.front();
  const int64_t at_once = std::max<int64_t>(1, transform::kElementsAtOnce / row);
  for (int64_t first = 0; first < rows; first += at_once) {
    ASSIGN_OR_RETURN(
        const std::vector<float> read,
        transform::ReadFiniteRows(checkpoint, tensor, first, std::min(at_once, rows - first)));
    std::copy(read.begin(), read.end(), values.begin() + first * row);
  }
  return absl::OkStatus();
}

void FillNew(const SourceModel& source, const nn::PlannedTensor& tensor, absl::Span<float> values) {
  const std::string& name = tensor.name;
  const bool is_bias = absl::EndsWith(name, ".bias");
  if (is_bias || absl::EndsWith(name, "query_norm.running_mean")) {
    std::fill(values.begin(), values.end(), 0.0f);
  } else if (tensor.role == nn::TensorRole::kNorm || tensor.role == nn::TensorRole::kVariance ||
             absl::EndsWith(name, "query_norm.weight")) {
    std::fill(values.begin(), values.end(), 1.0f);
  } else {
    const bool adds =
        absl::EndsWith(name, "o_proj.weight") || absl::EndsWith(name, "down_proj.weight");
    const double layers = static_cast<double>(source.config.layers.size());
    const double deviation =
        std::sqrt(1 / static_cast<double>(tensor.shape.back()) / (adds ? 2 * layers : 1));
    transform::RandomValues(source.seed, name, deviation).Fill(0, values);
  }
}

}  // namespace

absl::StatusOr<SourceModel> OpenSourceModel(const ModelSection& section) {
  return section.from.empty() ? MakeNew(section) : OpenExisting(section.from);
}

absl::Status FillValues(const SourceModel& source, LearningModel& model) {
  for (const nn::PlannedTensor& tensor : model.tensors()) {
    const absl::Span<float> values = model.Values(tensor.name);
    if (source.checkpoint == nullptr) {
      FillNew(source, tensor, values);
    } else {
      RETURN_IF_ERROR(
          ReadValues(*source.checkpoint, *source.checkpoint->Find(tensor.name), values));
    }
  }
  return absl::OkStatus();
}

}  // namespace peerage::train
