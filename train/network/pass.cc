#include "train/network/pass.h"

#include <ATen/ATen.h>

namespace peerage::train {

std::vector<at::Tensor> Project(Pass& pass, const nn::MatrixSource& source, const at::Tensor& x) {
  const at::Tensor input = x.to(pass.compute);
  std::vector<at::Tensor> outputs;
  for (const nn::MatrixSlice& slice : source.slices) {
    const at::Tensor weight = pass.parameters.Get(slice.tensor, pass.compute);
    outputs.push_back(at::linear(input, weight.narrow(0, slice.first, slice.count)));
  }
  return outputs;
}

at::Tensor Linear(Pass& pass, const nn::MatrixSource& source, const at::Tensor& x) {
  if (source.join == nn::Join::kRows) {
    const std::vector<at::Tensor> outputs = Project(pass, source, x);
    return outputs.size() == 1 ? outputs.front() : at::cat(outputs, -1);
  }
  const at::Tensor input = x.to(pass.compute);
  at::Tensor sum;
  int64_t first = 0;
  for (const nn::MatrixSlice& slice : source.slices) {
    const at::Tensor weight = pass.parameters.Get(slice.tensor, pass.compute);
    const at::Tensor part = at::linear(input.narrow(-1, first, slice.count),
                                       weight.narrow(1, slice.first, slice.count));
    sum = sum.defined() ? sum + part : part;
    first += slice.count;
  }
  return sum;
}

at::Tensor Normed(Pass& pass, const nn::NormPlan& norm, const at::Tensor& x) {
  const at::Tensor weight = pass.parameters.Get(norm.weight), input = x.to(at::kFloat);
  if (norm.type == NormType::kLayerNorm) {
    return at::layer_norm(input, {norm.width}, weight, {}, norm.epsilon);
  }
  return at::rms_norm(input, {norm.width}, weight, norm.epsilon);
}

at::Tensor Activated(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x, "none");
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
  }
  return x;
}

}  // namespace peerage::train
