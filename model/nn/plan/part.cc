#include "model/nn/plan/part.h"

#include <algorithm>
#include <utility>

namespace peerage::nn {

void BufferWidths::RaiseTo(const BufferWidths& other) {
  for (size_t BufferWidths::*width :
       {&BufferWidths::qkv, &BufferWidths::attended, &BufferWidths::hidden, &BufferWidths::input,
        &BufferWidths::expert_input, &BufferWidths::queries, &BufferWidths::head_sums,
        &BufferWidths::gates, &BufferWidths::ffn_gates, &BufferWidths::kept_logits,
        &BufferWidths::head_gates, &BufferWidths::picked}) {
    this->*width = std::max(this->*width, other.*width);
  }
}

MatrixSource Rows(std::vector<PlannedTensor> tensors) {
  MatrixSource source;
  for (PlannedTensor& tensor : tensors) {
    source.slices.push_back({std::move(tensor.name), 0, tensor.shape.front()});
  }
  return source;
}

}  // namespace peerage::nn
