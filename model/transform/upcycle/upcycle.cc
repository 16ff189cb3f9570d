#include "model/transform/upcycle/upcycle.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/safetensors_shards_writer.h"
#include "model/checkpoint/layout/tensor_layout.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/model_files.h"
#include "model/transform/new_model_directory.h"
#include "model/transform/tensor_values.h"
#include "model/transform/upcycle/expert_prompts.h"
#include "model/transform/upcycle/recipe_values.h"
#include "model/transform/upcycle/source_models.h"
#include "model/transform/upcycle/upcycle_record.h"
#include "model/transform/upcycle/upcycle_warnings.h"
#include "model/transform/upcycle/upcycled_config.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

bool HasPromptRouters(const UpcycleOptions& options) {
  return options.routers == RouterInit::kPrompts && options.MakesMixture();
}

// None unless routers are to be made of them.
absl::StatusOr<ExpertPrompts> PromptsFor(const Checkpoint& base, const UpcycleOptions& options) {
  if (!HasPromptRouters(options)) return ExpertPrompts();
  const auto tokenizer = Tokenizer::Load(base.tokenizer());
  if (!tokenizer.ok()) return At(options.base.path, tokenizer.status());
  return ReadExpertPrompts(**tokenizer, options);
}

absl::StatusOr<PromptRouters> RoutersFor(const Checkpoint& base, const ExpertPrompts& prompts,
                                         const UpcycleOptions& options) {
  if (!HasPromptRouters(options)) return PromptRouters();
  absl::StatusOr<PromptRouters> routers =
      MakePromptRouters(base, prompts, options.attention,
                        {.threads = options.threads, .progress = options.prompt_progress});
  if (!routers.ok()) return At(options.base.path, routers.status());
  return routers;
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

std::vector<SafetensorsEntry> PlanFile(const std::vector<RecipeValues>& tensors, TensorType dtype) {
  std::vector<SafetensorsEntry> plan;
  for (const RecipeValues& tensor : tensors) {
    const std::vector<int64_t>& shape = tensor.spec().shape;
    plan.push_back({tensor.spec().name, SafetensorsWord(dtype), shape,
                    RowBytes(dtype, tensor.rows() * RowElements(shape))});
  }
  return plan;
}

uint64_t TotalBytes(const std::vector<SafetensorsEntry>& plan) {
  uint64_t bytes = 0;
  for (const SafetensorsEntry& tensor : plan) bytes += tensor.bytes;
  return bytes;
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
      ASSIGN_OR_RETURN(const StoredRows stored,
                       At(absl::StrCat("tensor ", Quoted(tensor.spec().name)),
                          StoreInRange(options_.dtype, values)));
      RETURN_IF_ERROR(writer_.Append(stored.bytes));
      progress_.bytes += stored.bytes.size();
      RETURN_IF_ERROR(Report(options_.progress, progress_));
    }
    return absl::OkStatus();
  }

 private:
  SafetensorsShardsWriter& writer_;
  const UpcycleOptions& options_;
  Progress progress_;
};

absl::Status WriteWeights(const std::vector<RecipeValues>& tensors,
                          const std::vector<SafetensorsEntry>& plan, const UpcycleOptions& options,
                          const std::string& directory) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsShardsWriter> writer,
                   SafetensorsShardsWriter::Create(directory, plan));
  TensorWriting writing(*writer, options, TotalBytes(plan));
  for (const RecipeValues& tensor : tensors) RETURN_IF_ERROR(writing.Write(tensor));
  return writer->Finish();
}

absl::Status WriteModel(const std::vector<RecipeValues>& tensors,
                        const std::vector<SafetensorsEntry>& plan,
                        const std::vector<TextFile>& files, const UpcycleOptions& options) {
  const uint64_t bytes = TotalBytes(plan);
  RETURN_IF_ERROR(Report(options.progress, {.total_bytes = bytes}));
  ASSIGN_OR_RETURN(const std::unique_ptr<NewModelDirectory> directory,
                   NewModelDirectory::Create({.path = options.out, .bytes = bytes}));
  RETURN_IF_ERROR(WriteTextFiles(directory->partial_path(), files));
  RETURN_IF_ERROR(WriteWeights(tensors, plan, options, directory->partial_path()));
  return directory->Commit();
}

}  // namespace

absl::StatusOr<UpcycleReport> Upcycle(const UpcycleOptions& options) {
  RETURN_IF_ERROR(options.Validate());
  RETURN_IF_ERROR(NewModelDirectory::Check(options.out));
  ASSIGN_OR_RETURN(std::vector<SourceModel> models, OpenSourceModels(options));
  const Checkpoint& base = *models.front().checkpoint;
  ASSIGN_OR_RETURN(const ordered_json config_json, UpcycledConfigJson(base.config(), options));
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(config_json.dump()));
  absl::StatusOr<std::vector<TextFile>> files = TokenizerFiles(base.tokenizer());
  if (!files.ok()) return At(options.base.path, files.status());
  ASSIGN_OR_RETURN(const ExpertPrompts prompts, PromptsFor(base, options));

  ASSIGN_OR_RETURN(models, WithFingerprints(std::move(models), options));
  ASSIGN_OR_RETURN(const PromptRouters routers, RoutersFor(base, prompts, options));
  files->push_back(JsonFile("upcycle.json", UpcycleRecordJson(models, options)));
  files->push_back(JsonFile("config.json", config_json));
  const std::vector<RecipeValues> tensors = PlanTensors(config, {models, routers}, options);
  const std::vector<SafetensorsEntry> plan = PlanFile(tensors, options.dtype);
  RETURN_IF_ERROR(WriteModel(tensors, plan, *files, options));

  UpcycleReport report{.tensors = plan.size(),
                       .bytes = TotalBytes(plan),
                       .warnings = UpcycleWarnings(models, options)};
  report.warnings.insert(report.warnings.end(), routers.warnings.begin(), routers.warnings.end());
  if (options.MakesMixture()) report.expert_names = options.ExpertNames();
  return report;
}

}  // namespace peerage::transform
