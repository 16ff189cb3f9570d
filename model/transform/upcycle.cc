#include "model/transform/upcycle.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "model/checkpoint/safetensors_shards_writer.h"
#include "model/checkpoint/tensor_layout.h"
#include "model/error_text.h"
#include "model/status_macros.h"
#include "model/transform/model_files.h"
#include "model/transform/new_model_directory.h"
#include "model/transform/recipe_values.h"
#include "model/transform/source_models.h"
#include "model/transform/tensor_values.h"
#include "model/transform/upcycle_record.h"
#include "model/transform/upcycled_config.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> NamesOf(const std::vector<SourceModel>& models) {
  std::vector<std::string> names;
  for (const SourceModel& model : models) names.push_back(model.name);
  return names;
}

// Nothing unless routers are to be made of prompts, and there are any.
absl::StatusOr<PromptRouters> RoutersFor(const std::vector<SourceModel>& models,
                                         const UpcycleOptions& options) {
  if (options.routers != RouterInit::kPrompts && !options.prompts.empty()) {
    return absl::InvalidArgumentError("prompts are for --routers prompts");
  }
  if (options.routers != RouterInit::kPrompts || models.size() == 1) return PromptRouters();
  return MakePromptRouters(*models.front().checkpoint, NamesOf(models), options);
}

// What is to be written, in the order of the layout.
std::vector<RecipeValues> PlanTensors(const ModelConfig& config,
                                      const RecipeValues::Sources& sources,
                                      const UpcycleOptions& options) {
  std::vector<RecipeValues> tensors;
  for (TensorSpec& spec : TensorLayout(config, TensorNaming::kPeerage)) {
    tensors.emplace_back(sources, std::move(spec), options);
  }
  return tensors;
}

std::vector<PlannedTensor> PlanFile(const std::vector<RecipeValues>& tensors, TensorType dtype) {
  std::vector<PlannedTensor> plan;
  for (const RecipeValues& tensor : tensors) {
    const std::vector<int64_t>& shape = tensor.spec().shape;
    plan.push_back({tensor.spec().name, SafetensorsWord(dtype), shape,
                    RowBytes(dtype, tensor.rows() * RowElements(shape))});
  }
  return plan;
}

// Writes one tensor after the other, a few rows at a time.
class TensorWriting {
 public:
  TensorWriting(SafetensorsShardsWriter& writer, const UpcycleOptions& options,
                uint64_t total_bytes)
      : writer_(writer), options_(options), progress_{.total_bytes = total_bytes} {}

  absl::Status Write(const RecipeValues& tensor) {
    const int64_t row_elements = RowElements(tensor.spec().shape);
    const int64_t at_once = std::max<int64_t>(1, kElementsAtOnce / row_elements);
    for (int64_t first = 0; first < tensor.rows(); first += at_once) {
      ASSIGN_OR_RETURN(const std::vector<float> values,
                       tensor.Rows(first, std::min(at_once, tensor.rows() - first)));
      absl::StatusOr<std::vector<uint8_t>> stored =
          StoreInRange(options_.dtype, row_elements, values);
      if (!stored.ok()) {
        return At(absl::StrCat("tensor ", Quoted(tensor.spec().name)), stored.status());
      }
      RETURN_IF_ERROR(writer_.Append(*stored));
      progress_.bytes += stored->size();
      if (options_.progress) options_.progress(progress_);
    }
    return absl::OkStatus();
  }

 private:
  SafetensorsShardsWriter& writer_;
  const UpcycleOptions& options_;
  Progress progress_;
};

absl::Status WriteWeights(const std::vector<RecipeValues>& tensors,
                          const std::vector<PlannedTensor>& plan, const UpcycleOptions& options,
                          const std::string& directory) {
  uint64_t total = 0;
  for (const PlannedTensor& tensor : plan) total += tensor.bytes;
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsShardsWriter> writer,
                   SafetensorsShardsWriter::Create(directory, plan));
  TensorWriting writing(*writer, options, total);
  for (const RecipeValues& tensor : tensors) RETURN_IF_ERROR(writing.Write(tensor));
  return writer->Finish();
}

}  // namespace

absl::StatusOr<UpcycleReport> Upcycle(const UpcycleOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<SourceModel> models, OpenSourceModels(options));
  if (models.size() == 1 && options.peers.empty()) {
    return absl::InvalidArgumentError("one model and no PEER memory: there is nothing to do");
  }
  const Checkpoint& base = *models.front().checkpoint;
  ASSIGN_OR_RETURN(const ordered_json config_json,
                   UpcycledConfigJson(base.config(), NamesOf(models), options));
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(config_json.dump()));
  ASSIGN_OR_RETURN(PromptRouters routers, RoutersFor(models, options));
  absl::StatusOr<std::vector<TextFile>> files = TokenizerFiles(base.tokenizer());
  if (!files.ok()) return At(options.base.path, files.status());
  files->push_back(JsonFile("upcycle.json", UpcycleRecordJson(models, options)));
  files->push_back(JsonFile("config.json", config_json));
  const std::vector<RecipeValues> tensors = PlanTensors(config, {models, routers}, options);
  const std::vector<PlannedTensor> plan = PlanFile(tensors, options.dtype);

  ASSIGN_OR_RETURN(const std::unique_ptr<NewModelDirectory> directory,
                   NewModelDirectory::Create(options.out));
  RETURN_IF_ERROR(WriteTextFiles(directory->partial_path(), *files));
  RETURN_IF_ERROR(WriteWeights(tensors, plan, options, directory->partial_path()));
  RETURN_IF_ERROR(directory->Commit());

  UpcycleReport report{.tensors = plan.size(), .warnings = std::move(routers.warnings)};
  if (models.size() > 1) report.expert_names = NamesOf(models);
  for (const PlannedTensor& tensor : plan) report.bytes += tensor.bytes;
  return report;
}

}  // namespace peerage::transform
