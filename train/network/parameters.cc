#include "train/network/parameters.h"

#include <ATen/ops/zeros.h>

#include <utility>

#include "absl/strings/match.h"

namespace peerage::train {

bool Parameter::is_statistic() const {
  return absl::EndsWith(planned.name, ".query_norm.running_mean") ||
         absl::EndsWith(planned.name, ".query_norm.running_var");
}

void Parameters::Add(nn::PlannedTensor planned, bool changes) {
  Parameter parameter{.planned = std::move(planned), .changes = changes};
  parameter.value = at::zeros(parameter.planned.shape, at::kFloat);
  parameter.value.set_requires_grad(parameter.has_gradient());
  index_[parameter.planned.name] = all_.size();
  all_.push_back(std::move(parameter));
}

at::Tensor Parameters::Get(const std::string& name, at::ScalarType type) {
  Parameter& parameter = Find(name);
  if (type == at::kFloat) return parameter.value;
  if (parameter.changes) return parameter.value.to(type);
  if (!parameter.cast.defined()) parameter.cast = parameter.value.to(type);
  return parameter.cast;
}

}  // namespace peerage::train
