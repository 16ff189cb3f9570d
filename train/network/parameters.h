#pragma once

#include <ATen/core/Tensor.h>

#include <list>
#include <map>
#include <string>
#include <vector>

#include "model/nn/plan/model_plan.h"
#include "train/ops/gradient_ledger.h"

namespace peerage::train {

// Where the gradient of a table is that learns one row at a time.
struct LedgerPlace {
  int64_t ledger = 0;  // 0: the table has a gradient like any other tensor
  size_t table = 0;    // which of the ledger's
  size_t tables = 0;   // that the ledger has
};

// One tensor of the model.
struct Parameter {
  nn::PlannedTensor planned;
  at::Tensor value;      // f32, in the planned shape
  bool changes = false;  // in training; else it is frozen
  at::Tensor cast;       // of a frozen one: the value in another type, once that was asked for
  LedgerPlace place;

  // A running mean or variance, which changes without a gradient.
  bool is_statistic() const;
  bool has_gradient() const { return changes && !is_statistic(); }
};

// All tensors of a model by their names, in the order of its plan. Values begin as zeros.
//
// Threads: one at a time.
class Parameters {
 public:
  // `changes(tensor)` says whether a tensor is trained.
  template <typename Changes>
  Parameters(const nn::ModelPlan& plan, const Changes& changes) {
    for (nn::PlannedTensor& tensor : plan.Tensors()) {
      const bool is_trained = changes(tensor);
      Add(std::move(tensor), is_trained);
    }
  }

  // Gradients of tables with a row for each expert go into ledgers from now on, one for each layer
  // of which a table has gradients.
  void KeepTablesInLedgers(const nn::ModelPlan& plan);

  std::vector<Parameter>& all() { return all_; }
  const std::vector<Parameter>& all() const { return all_; }
  // Precondition: the plan has the tensor.
  Parameter& Find(const std::string& name) { return all_[index_.at(name)]; }

  // The value in f32, or in another type; gradients go to the f32 value.
  at::Tensor Get(const std::string& name) { return Find(name).value; }
  at::Tensor Get(const std::string& name, at::ScalarType type);

 private:
  void Add(nn::PlannedTensor planned, bool changes);

  std::vector<Parameter> all_;
  std::map<std::string, size_t> index_;
  std::list<Ledger> ledgers_;
};

}  // namespace peerage::train
