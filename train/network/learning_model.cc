#include "train/network/learning_model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "train/network/adamw.h"
#include "train/network/network.h"
#include "train/network/parameters.h"

namespace peerage::train {
namespace {

absl::Span<float> FloatsOf(const at::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

// Runs what uses LibTorch, whose errors are exceptions.
template <typename Work>
absl::Status Guarded(const Work& work) {
  try {
    work();
    return absl::OkStatus();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
  }
}

// Ids [sequences, length + 1].
at::Tensor IdsOf(const TokenBatch& batch) {
  at::Tensor ids = at::empty({batch.sequences, batch.length + 1}, at::kLong);
  std::copy(batch.tokens.begin(), batch.tokens.end(), ids.data_ptr<int64_t>());
  return ids;
}

}  // namespace

struct LearningModel::Torch {
  // Counts of one expert layer.
  struct LayerCounts {
    at::Tensor selections;  // [experts] int64
    at::Tensor scores;      // [experts] f64
    double squared_scores = 0;

    explicit LayerCounts(int64_t experts)
        : selections(at::zeros(experts, at::kLong)), scores(at::zeros(experts, at::kDouble)) {}

    void Add(const Picks& picks) {
      const at::Tensor ids = picks.ids.flatten();
      const at::Tensor weights = picks.weights.flatten().to(at::kDouble);
      selections.index_add_(0, ids, at::ones_like(ids));
      scores.index_add_(0, ids, weights);
      squared_scores += weights.square().sum().item<double>();
    }

    ExpertCounts Take() {
      ExpertCounts counts{.squared_scores = squared_scores};
      const int64_t* first = selections.data_ptr<int64_t>();
      counts.selections.assign(first, first + selections.numel());
      counts.scores.assign(scores.data_ptr<double>(), scores.data_ptr<double>() + scores.numel());
      *this = LayerCounts(selections.numel());
      return counts;
    }
  };

  nn::ModelPlan plan;
  Options options;
  Parameters parameters;
  std::vector<LayerCounts> counts = {};  // [expert layers]
  std::vector<std::string> learnt = {};  // names of the optimiser's items
  std::unique_ptr<AdamW> optimizer = {};
  StepFigures figures = {};  // of the step that is going on

  NetworkOutput Run(const TokenBatch& batch, const at::Tensor& ids, bool learning) {
    return Forward(
        plan, parameters, ids.narrow(1, 0, batch.length),
        {.compute = options.compute == ComputeType::kBF16 ? at::kBFloat16 : at::kFloat,
         .learning = learning,
         .soft_routing = learning && options.optimizer.routing == LearningRouting::kSoft});
  }

  void Learn(const TokenBatch& batch, int parts) {
    const at::Tensor ids = IdsOf(batch);
    const NetworkOutput output = Run(batch, ids, /*learning=*/true);
    at::Tensor loss =
        at::cross_entropy_loss(output.logits, ids.narrow(1, 1, batch.length).flatten());
    figures.loss += loss.item<double>() / parts;
    if (output.balance_loss.defined()) {
      figures.balance_loss += output.balance_loss.item<double>() / parts;
      figures.z_loss += output.z_loss.item<double>() / parts;
      const OptimizerSection& o = options.optimizer;
      if (o.balance_loss > 0) loss = loss + output.balance_loss * o.balance_loss;
      if (o.z_loss > 0) loss = loss + output.z_loss * o.z_loss;
    }
    (loss / static_cast<double>(parts)).backward();
    for (size_t i = 0; i < counts.size(); ++i) counts[i].Add(output.picks[i]);
  }
};

LearningModel::LearningModel(const ModelConfig& config, const std::vector<TensorLearning>& learning,
                             const Options& options) {
  nn::ModelPlan plan = nn::PlanModel(config);
  tensors_ = plan.Tensors();
  expert_layers_ = plan.ExpertLayers();
  size_t next = 0;
  Parameters parameters(plan, [&](const nn::PlannedTensor&) { return learning[next++].changes; });
  if (options.optimizer.rows == TableRows::kPicked) parameters.KeepTablesInLedgers(plan);
  torch_ = std::make_unique<Torch>(Torch{std::move(plan), options, std::move(parameters)});
  for (const ExpertLayer& layer : expert_layers_) torch_->counts.emplace_back(layer.num_experts);
  std::vector<AdamW::Item> items;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Parameter& parameter = torch_->parameters.all()[i];
    if (!parameter.has_gradient()) continue;
    items.push_back(
        {parameter.value, learning[i].learning_rate, learning[i].weight_decay, parameter.place});
    torch_->learnt.push_back(tensors_[i].name);
  }
  torch_->optimizer = std::make_unique<AdamW>(std::move(items), options.optimizer);
}

LearningModel::~LearningModel() = default;

absl::StatusOr<std::unique_ptr<LearningModel>> LearningModel::Make(
    const ModelConfig& config, const std::vector<TensorLearning>& learning,
    const Options& options) {
  std::unique_ptr<LearningModel> model;
  const absl::Status status =
      Guarded([&] { model.reset(new LearningModel(config, learning, options)); });
  if (!status.ok()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the model and what its optimiser keeps: ", status.message()));
  }
  return model;
}

void LearningModel::SetThreads(int threads) { at::set_num_threads(threads); }

absl::Span<float> LearningModel::Values(const std::string& tensor) {
  return FloatsOf(torch_->parameters.Get(tensor));
}

absl::Span<const float> LearningModel::Gradient(const std::string& tensor) const {
  const at::Tensor& gradient = torch_->parameters.Find(tensor).value.grad();
  if (!gradient.defined()) return {};
  return FloatsOf(gradient);
}

absl::Status LearningModel::Learn(const TokenBatch& batch, int parts) {
  return Guarded([&] { torch_->Learn(batch, parts); });
}

absl::StatusOr<StepFigures> LearningModel::Update(double factor) {
  StepFigures figures = std::exchange(torch_->figures, {});
  const absl::Status status = Guarded([&] {
    figures.gradient_norm = torch_->optimizer->ClipGradients();
    if (std::isfinite(figures.loss) && std::isfinite(figures.gradient_norm)) {
      torch_->optimizer->Step(factor);
    }
  });
  if (!status.ok()) return status;
  if (!std::isfinite(figures.loss) || !std::isfinite(figures.gradient_norm)) {
    return absl::DataLossError(absl::StrCat("the loss is ", figures.loss,
                                            " and its gradient's norm ", figures.gradient_norm));
  }
  return figures;
}

absl::StatusOr<std::vector<float>> LearningModel::LogProbabilities(const TokenBatch& batch) {
  std::vector<float> values;
  const absl::Status status = Guarded([&] {
    const c10::AutoGradMode no_gradients(/*enabled=*/false);
    const at::Tensor ids = IdsOf(batch);
    const NetworkOutput output = torch_->Run(batch, ids, /*learning=*/false);
    const at::Tensor targets = ids.narrow(1, 1, batch.length).reshape({-1, 1});
    const at::Tensor scores = at::log_softmax(output.logits, -1).gather(1, targets).contiguous();
    const absl::Span<float> found = FloatsOf(scores);
    values.assign(found.begin(), found.end());
  });
  if (!status.ok()) return status;
  return values;
}

std::vector<ExpertCounts> LearningModel::TakeUsage() {
  std::vector<ExpertCounts> usage;
  for (Torch::LayerCounts& counts : torch_->counts) usage.push_back(counts.Take());
  return usage;
}

std::vector<LearningModel::StateTensor> LearningModel::State() {
  std::vector<StateTensor> state;
  for (const Parameter& parameter : torch_->parameters.all()) {
    if (!parameter.changes) continue;
    const nn::PlannedTensor& planned = parameter.planned;
    state.push_back({planned.name, planned.shape, FloatsOf(parameter.value)});
  }
  for (size_t i = 0; i < torch_->learnt.size(); ++i) {
    const std::string& name = torch_->learnt[i];
    const AdamW::Item& item = torch_->optimizer->items()[i];
    state.push_back({absl::StrCat("first.", name), item.first.sizes().vec(), FloatsOf(item.first)});
    state.push_back(
        {absl::StrCat("second.", name), item.second.sizes().vec(), FloatsOf(item.second)});
  }
  return state;
}

int64_t LearningModel::steps() const { return torch_->optimizer->steps(); }
void LearningModel::set_steps(int64_t steps) { torch_->optimizer->set_steps(steps); }

}  // namespace peerage::train
